"""What the loops of crashes share: the drive whose daemon is killed, the service's control interface, and
a model of the tree that the drive must show.

Every call on the mount is a step of its own, told to the model when it was answered. At a kill one
step is in doubt: its outcome may be either. After each remount the drive must show the model, file
by file."""
import collections
import errno
import hashlib
import json
import os
import subprocess
import threading
import time
import urllib.parse
import urllib.request

DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
FILES, FOLDERS, HANDLES = 28, 8, 3


class Killed(Exception):
    pass


class File:
    """data: as of all answered writes. closed: as of the last answered close, None: never closed.
    handle: whoever has it open. sent: digests of whatever was closed, in any file."""
    sent = set()

    def __init__(self):
        self.data, self.closed, self.handle, self.dirty = b'', None, None, True

    def close(self):
        self.closed, self.dirty = self.data, False
        self.sent.add(sha(self.data))


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Service:
    def __init__(self, control):
        self.control = control

    def call(self, method, what, body=None, **query):
        url = f'{self.control}/{what}'
        if query:
            url += '?' + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        if data is not None:
            request.add_header('Content-Type', 'application/json')
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def faults_met(self):
        return sum(f.get('hits', 0) for f in json.loads(self.call('GET', 'faults')))


class Drive:
    def __init__(self, pm, mnt, account, conf, log):
        self.pm, self.mnt, self.conf = pm, mnt, conf
        self.top = os.path.join(mnt, account)
        self.log = open(log, 'ab')
        self.daemon = None

    def start(self):
        self.daemon = subprocess.Popen([self.pm, '-c', self.conf, '-d', '-f', self.mnt],
                                       stdout=self.log, stderr=self.log)

    def mount(self):
        self.start()
        end = time.monotonic() + 60
        while not os.path.exists(f'{self.mnt}/.polymount/status.json'):
            if self.daemon.poll() is not None:
                raise SystemExit(f'the daemon has ended: {self.daemon.returncode}')
            if time.monotonic() > end:
                raise SystemExit('the drive does not come up')
            time.sleep(0.01)

    def kill(self):
        self.daemon.kill()

    def bury(self, mounted=True):
        self.daemon.wait()
        subprocess.run(['umount', '-l', self.mnt], check=mounted, stderr=self.log)

    def stumble(self, seconds):
        """A daemon that is killed while it starts, or just after."""
        self.start()
        time.sleep(seconds)
        self.kill()
        self.bury(False)

    def retry(self, path):
        subprocess.run([self.pm, 'retry', os.path.join(self.top, path)], check=True, timeout=30,
                       stdout=subprocess.DEVNULL)

    def end(self):
        subprocess.run([self.pm, 'umount', self.mnt], check=True, stdout=subprocess.DEVNULL, timeout=60)
        if self.daemon.wait(timeout=60) != 0:
            raise SystemExit(f'the daemon ended with {self.daemon.returncode}')

    def queued(self):
        said = subprocess.run([self.pm, '-c', self.conf, 'status', '--json'], check=True, timeout=30,
                              stdout=subprocess.PIPE).stdout
        return json.loads(said)['pending']

    def sync(self, seconds):
        try:
            done = subprocess.run([self.pm, 'sync', '--timeout', str(seconds), self.mnt],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            raise SystemExit('sync does not end in its time')
        return done.returncode, done.stdout.decode(errors='replace')

    def tree(self):
        """Path -> (digest, state), of folders (None, None)."""
        found = {}
        for folder, folders, files in os.walk(self.top, onerror=self.failed):
            for name in folders:
                found[os.path.relpath(os.path.join(folder, name), self.top)] = (None, None)
            for name in files:
                path = os.path.join(folder, name)
                with open(path, 'rb') as f:
                    data = f.read()
                state = os.getxattr(path, 'user.polymount.state').decode()
                found[os.path.relpath(path, self.top)] = (data, state)
        return found

    @staticmethod
    def failed(err):
        raise err


class Model:
    CHECKS = 0.35  # of the rounds end so
    TEMPORARY = ['.{}.Xy12aZ', '{}.new', '{}.tmp']

    def __init__(self, drive, service, rng, faults):
        self.drive, self.service, self.rng, self.faults = drive, service, rng, faults
        self.tree = {}  # path -> File, or None: a folder
        self.handles = []  # [fd, File, path at opening]
        self.doubt = None  # the step that was not answered: (what, apply or None, File or None, data)
        self.seen = collections.Counter()
        self.story = collections.deque(maxlen=2000)
        self.serial = 0

    # --- steps: each one call, answered or in doubt

    def step(self, what, call, apply=None, file=None, torn=None):
        """apply() tells the model that it was done; torn: what the file's content may become meanwhile."""
        self.doubt = (what, apply, file, torn)
        try:
            result = call()
        except OSError as e:
            if e.errno in DEAD or self.killed.is_set():
                self.story.append(f'{what}: not answered ({e.strerror})')
                raise Killed()
            self.doubt = None
            self.story.append(f'{what}: {e.strerror}')
            raise
        self.doubt = None
        self.story.append(what)
        if apply:
            apply()
        return result

    def at(self, path):
        return os.path.join(self.drive.top, path)

    def open(self, path, flags):
        file = self.tree.get(path)
        if flags & os.O_CREAT and file is None:
            made = File()

            def create():
                self.tree[path] = made
            fd = self.step(f'create {path}', lambda: os.open(self.at(path), flags, 0o644), create, made)
            file = made
        elif flags & os.O_TRUNC:
            def empty():
                if file.data:
                    file.data, file.dirty = b'', True
            fd = self.step(f'open and empty {path}', lambda: os.open(self.at(path), flags), empty, file, [b''])
        else:
            fd = self.step(f'open {path}', lambda: os.open(self.at(path), flags), None, file)
        handle = [fd, file, path]
        file.handle = handle
        self.handles.append(handle)
        return handle

    def write(self, handle, off, data):
        fd, file, path = handle
        old = file.data.ljust(off, b'\0')
        new = old[:off] + data + old[off + len(data):]

        def wrote():
            file.data, file.dirty = new, True
        self.step(f'write {path} at {off}, {len(data)}', lambda: self.all(fd, data, off), wrote, file, [new])

    @staticmethod
    def all(fd, data, off):
        if os.pwrite(fd, data, off) != len(data):
            raise OSError(errno.ENOTCONN, 'a part was written')

    def fsync(self, handle):
        self.step(f'fsync {handle[2]}', lambda: os.fsync(handle[0]), handle[1].close, handle[1])

    def close(self, handle):
        self.handles.remove(handle)
        handle[1].handle = None
        try:
            self.step(f'close {handle[2]}', lambda: os.close(handle[0]), handle[1].close, handle[1])
        except Killed:
            handle[1].handle = handle
            raise

    # --- what programs do

    def content(self):
        size = self.rng.choice([0, 1, 10, 1000, 5000, 70000, 70000, 300000])
        return self.rng.randbytes(self.rng.randrange(size + 1))

    def name(self):
        self.serial += 1
        folder = self.rng.choice([''] + self.folders())
        return os.path.join(folder, f'{self.rng.choice("abcdef")}{self.serial}.{self.rng.choice(["bin", "txt", "obj"])}')

    def folders(self):
        return sorted(p for p, f in self.tree.items() if f is None)

    def files(self, closed=True):
        return sorted(p for p, f in self.tree.items() if f is not None and not (closed and f.handle))

    def fill(self, handle, data):
        at = 0
        for part in range(self.rng.choice([1, 1, 3])):
            upto = len(data) if part == 2 else self.rng.randrange(at, len(data) + 1)
            self.write(handle, at, data[at:upto]) if upto > at else None
            at = upto
        if at < len(data):
            self.write(handle, at, data[at:])

    def done(self, handle):
        """Closed at once, mostly; or after other things."""
        if self.rng.random() < 0.1:
            self.fsync(handle)
        if self.rng.random() < 0.85 or len(self.handles) > HANDLES:
            self.close(handle)

    def do_create(self):
        if len(self.tree) > FILES:
            return self.do_unlink()
        handle = self.open(self.name(), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.fill(handle, self.content())
        self.done(handle)

    def do_save(self):
        handle = self.open(self.rng.choice(self.files()), os.O_WRONLY | os.O_TRUNC)
        self.fill(handle, self.content())
        self.done(handle)

    def do_append(self):
        handle = self.open(self.rng.choice(self.files()), os.O_WRONLY)
        self.write(handle, len(handle[1].data), b'+' + self.content())
        self.done(handle)

    def do_middle(self):
        handle = self.open(self.rng.choice(self.files()), os.O_RDWR)
        self.write(handle, self.rng.randrange(len(handle[1].data) + 1), b'-' + self.content())
        self.done(handle)

    def do_truncate(self):
        path = self.rng.choice(self.files())
        file = self.tree[path]
        size = self.rng.randrange(len(file.data) + 1000)
        new = file.data[:size].ljust(size, b'\0')

        def cut():
            file.data = new
            file.close()
        self.step(f'truncate {path} to {size}', lambda: os.truncate(self.at(path), size), cut, file, [new])

    def do_resume(self):
        if self.handles:
            handle = self.rng.choice(self.handles)
            self.write(handle, self.rng.randrange(len(handle[1].data) + 1), b'=' + self.content())
            if self.rng.random() < 0.5:
                self.close(handle)

    def rename(self, old, new):
        def moved():
            for path in [p for p in self.tree if p == old or p.startswith(old + '/')]:
                self.tree[new + path[len(old):]] = self.tree.pop(path)
        self.step(f'rename {old} to {new}', lambda: os.rename(self.at(old), self.at(new)), moved)

    def do_rename(self):
        self.rename(self.rng.choice(self.files(closed=False)), self.name())

    def do_rename_over(self):
        old, new = self.rng.sample(self.files(closed=False), 2)
        self.rename(old, new)

    def do_replace(self):
        path = self.rng.choice(self.files())
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, self.rng.choice(self.TEMPORARY).format(name))
        if temporary in self.tree:
            return
        handle = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.fill(handle, self.content())
        self.close(handle)
        self.rename(temporary, path)

    def do_unlink(self):
        path = self.rng.choice(self.files(closed=False))
        self.step(f'unlink {path}', lambda: os.unlink(self.at(path)), lambda: self.tree.pop(path))

    DEEDS = {do_create: 6, do_save: 3, do_append: 3, do_middle: 3, do_truncate: 2, do_resume: 3, do_rename: 2,
             do_rename_over: 1, do_replace: 3, do_unlink: 2}

    def deed(self):
        deed = self.rng.choices(list(self.DEEDS), list(self.DEEDS.values()))[0]
        if len(self.files()) < 2:
            deed = Model.do_create
        deed(self)

    def work(self):
        while True:
            self.deed()
            self.seen['deeds'] += 1
            if self.rng.random() < 0.5:
                time.sleep(self.rng.random() * 0.02)

    # --- what may be there

    def allowed(self, path, file, data, state):
        """None, or what is wrong with the file that the drive shows."""
        whole = state != 'interrupted'
        doubtful = self.doubt and self.doubt[2] is file
        if not file.dirty and not doubtful:
            return None if whole and data == file.data else 'was closed, and is another'
        if whole:
            if doubtful and not file.dirty and data == file.data:
                return None
            if doubtful and not file.handle and data in self.doubt[3]:  # by its path
                return None
            if doubtful and self.doubt[0].startswith('close ') and data == file.data:
                return None
            if doubtful and self.doubt[0].startswith('fsync ') and data == file.data:
                return None
            if file.closed is not None and data == file.closed:
                self.seen['as before'] += 1
                return None
            return 'was open and is said to be whole'
        if data == file.data:
            return None
        if doubtful and self.doubt[3] and any(self.mixed(data, file.data, new) for new in self.doubt[3]):
            return None
        return 'was open, and is not what was written'

    @staticmethod
    def mixed(data, old, new):
        if data == new:
            return True
        if len(data) > max(len(old), len(new)) or len(data) < min(len(old), len(new)):
            return False
        return all(b == n or (i < len(old) and b == old[i]) for i, (b, n) in enumerate(zip(data, new))) \
            and len(data) <= len(new)

    def differs(self, shown):
        wrong = [f'{p}: is gone' for p in self.tree if p not in shown]
        wrong += [f'{p}: is there' for p in shown if p not in self.tree]
        for path, file in self.tree.items():
            if path not in shown:
                continue
            data, state = shown[path]
            if (file is None) != (data is None):
                wrong.append(f'{path}: is another kind')
            elif file is not None and (why := self.allowed(path, file, data, state)):
                wrong.append(f'{path}: {why}: {state}, {self.compare(data, file)}')
        return wrong

    @staticmethod
    def compare(data, file):
        def first(a, b):
            return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        at = first(data, file.data)
        return (f'{len(data)} bytes, written {len(file.data)}, closed '
                f'{None if file.closed is None else len(file.closed)}, differs at {at}, zeros there: '
                f'{not any(data[at:at + 64])}')

    def judge(self, shown):
        """The drive after a remount is the model before or after the step in doubt."""
        wrong = self.differs(shown)
        if wrong and self.doubt and self.doubt[1] and not self.doubt[3]:
            before, files = dict(self.tree), {p: (f, f and dict(f.__dict__)) for p, f in self.tree.items()}
            self.doubt[1]()
            after = self.differs(shown)
            if after:
                self.tree = before
                for f, fields in files.values():
                    if f:
                        f.__dict__.update(fields)
                self.fail('the drive shows', wrong + ['or, had the last step been done:'] + after)
            wrong = []
        if wrong:
            self.fail('the drive shows', wrong)
        for path, file in self.tree.items():
            if file is not None:
                data, state = shown[path]
                file.data, file.handle, file.dirty = data, None, state == 'interrupted'
                if file.dirty:
                    self.seen['interrupted'] += 1
                else:
                    file.close()
        self.doubt = None

    def fail(self, what, wrong):
        print('\n'.join(self.story))
        print(f'{what}, in round {self.round}:')
        print('\n'.join(wrong[:40]))
        raise SystemExit(1)

    # --- rounds

    def interrupted(self):
        return [p for p, f in self.tree.items() if f is not None and f.dirty]

    def mend(self, often):
        """What is interrupted is closed by another write, taken as it is, removed, or left so."""
        held = self.service.held() - File.sent
        for path in self.interrupted():
            file = self.tree[path]
            if len(file.data) > 32 and sha(file.data) in held:
                self.fail('the service has', [f'{path}: what was never closed'])
            choice = self.rng.random() / often
            if choice < 0.2:
                self.story.append(f'retry {path}')
                self.drive.retry(path)
                file.close()
            elif choice < 0.7:
                handle = self.open(path, os.O_WRONLY)
                self.write(handle, len(file.data), b'!')
                self.close(handle)
            elif choice < 1:
                self.step(f'unlink interrupted {path}', lambda: os.unlink(self.at(path)),
                          lambda: self.tree.pop(path))

    def one(self, number):
        self.round = number
        self.story.append(f'--- round {number}')
        self.killed = threading.Event()
        if self.faults:
            self.service.faults(self.rng)

        def kill():
            self.killed.set()
            self.drive.kill()
        timer = threading.Timer(self.rng.choice([0.05, 0.2, 0.5, 1.0]) * (0.2 + self.rng.random()), kill)
        timer.start()
        try:
            self.work()
        except Killed:
            pass
        except BaseException:
            timer.cancel()
            print('\n'.join(self.story))
            raise
        timer.join()
        for fd, _, _ in self.handles:
            try:
                os.close(fd)
            except OSError:
                pass
        self.handles = []
        self.drive.bury()
        self.seen['kills'] += 1
        self.seen['found something queued'] += self.drive.queued() > 0
        if self.faults:
            self.seen['faults met'] += self.service.faults_met()
            self.service.call('DELETE', 'faults')
        while self.rng.random() < 0.2:
            self.drive.stumble(self.rng.random() ** 2 * 0.3)
            self.seen['kills at a start'] += 1
        self.drive.mount()
        self.judge(self.drive.tree())
        if self.rng.random() < self.CHECKS:
            self.check_service()
        else:
            self.mend(0.7)


def main(crash, seed, rounds):
    crash.drive.mount()
    try:
        for number in range(1, rounds + 1):
            crash.one(number)
        crash.check_service()
        crash.drive.end()
    finally:
        print(f'seed {seed}: ' + ', '.join(f'{n} {what}' for what, n in crash.seen.items()))
        if crash.drive.daemon.poll() is None:
            crash.drive.kill()
            crash.drive.bury()
    if crash.seen['found something queued'] * 2 < crash.seen['kills']:
        raise SystemExit('fewer than half of the kills found something queued: this shows nothing')
