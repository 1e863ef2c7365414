#!/usr/bin/env python3
"""As crash.py, with files that are dropped into ShareMy3D's uploads/, and drafts there:
crash_sm3d.py PM MNT ACCOUNT CONF CONTROL LOG SEED ROUNDS SOURCE [faults]

At each check, when all has settled, whatever was closed and is there is one model, byte-equal; the service
has nothing else of ours, but others' models as they were."""
import collections
import errno
import json
import os
import random
import re
import stat
import subprocess
import sys
import time
import urllib.error

from crash_lib import DEAD, Drive, File, Killed, Model, Service, main, sha

UP = 'uploads'
STEMS = ['Scan', 'part', 'Halle ä', 'a b (1)', 'büst.e']
READINGS = {'list_lag_ms': [0, 0, 700], 'torn': ['granule', 'drop', 'bytes'], 'short_every': [0, 0, 3],
            'resumable_form': ['json', 'xml', 'start'], 'put_form': ['v2', 'v4', 'lower', 'opaque'],
            'stale': ['UPLOADING', 'FAILED'], 'gone_status': [404, 404, 400], 'ties': ['kept', 'shuffled'],
            'original_when': ['uploaded', 'ACTIVE'], 'filename_in': ['disposition', 'header', 'path', 'none'],
            'final_status': [200, 201], 'errors': ['class', 'plain', 'html', 'empty']}
MOST = 14
LEFT = re.compile(r'\.r\d.*\.[A-Za-z0-9]{6}$')  # by an rsync that was killed


class Models(Service):
    def get(self, what, **query):
        return json.loads(self.call('GET', what, **query))

    def items(self):
        return self.get('sm3d/items', kind='model')

    def held(self):
        lines = self.call('GET', 'sm3d/digest', kind='model', made=1).decode().splitlines()
        return {line[:64] for line in lines}

    def faults(self, rng):
        """About one request in six meets something."""
        self.call('DELETE', 'faults')
        for _ in range(14):
            kind = rng.choice([{'reset': 'before'}, {'reset': 'after'}, {'reset': 'after'}, {'status': 503},
                               {'status': 500}, {'status': 504, 'processed': True}, {'cut': 0}, {'cut': 10},
                               {'garbage': True}, {'reset': 'during', 'reset_at': rng.choice([10, 700, 5000000])}])
            where = rng.choice(['model_new', 'model_new', 'object_put', 'session_put', 'session_query',
                                'session_start', 'model', 'models', 'model_delete', 'original', 'any'])
            if where == 'session_put' and rng.random() < 0.3:
                kind = {'status': rng.choice([404, 410])}
            self.call('POST', 'faults', {'endpoint': where, 'skip': rng.randrange(3 if where != 'any' else 40),
                                         'count': 1, **kind})


class Uploads(Drive):
    """Only uploads/ is compared."""

    def tree(self):
        for _ in range(20):
            try:
                return self.look()
            except FileNotFoundError:  # it was listed, and is not now: see judge
                time.sleep(0.2)
        return self.look()

    def look(self):
        found = {}
        for path, what in self.walk(UP):
            if what is not None:
                with open(os.path.join(self.top, path), 'rb') as f:
                    what = (f.read(), os.getxattr(f.fileno(), 'user.polymount.state').decode())
            found[path] = what or (None, None)
        return found

    def walk(self, folder):
        for name in os.listdir(os.path.join(self.top, folder)):
            path = os.path.join(folder, name)
            if not stat.S_ISDIR(os.lstat(os.path.join(self.top, path)).st_mode):
                yield path, True
                continue
            yield path, None
            yield from self.walk(path)


class Draft:
    """names: that its model may have. may: it may be sent. removing: rm -r was begun."""

    def __init__(self, name):
        self.names, self.may, self.removing = {name, f'{name} model'}, False, False


class Crash(Model):
    CHECKS = 0.4
    TEMPORARY = ['.{}.Xy12aZ', '{}.tmp']

    def __init__(self, drive, service, rng, faults, source):
        super().__init__(drive, service, rng, faults)
        self.source = source
        self.drafts = {}  # path -> Draft
        self.syncs = {}  # source -> names: rsync has not succeeded yet
        self.removed = []  # (path, File)
        self.leaving = {}  # path -> File: its model was removed
        self.maybe = {}  # path -> File: its model may have been removed
        self.files_named = collections.defaultdict(list)  # name -> the files that ever had it
        self.others = set()
        self.lag = False

    def begin(self):
        told = {f'sm3d.{k}': self.rng.choice(v) for k, v in READINGS.items()}
        told['sm3d.extensions'] = ''  # those of temporary names, too
        self.lag = told['sm3d.list_lag_ms'] > 0
        self.service.call('POST', 'options', told)
        self.story.append(f'=== {told}')
        for _ in range(3):
            self.other('Keep.ply', 5000, status='ACTIVE')

    def other(self, filename, size, status='UPLOADING'):
        """Another machine's."""
        said = self.service.call('POST', 'sm3d/seed', {'filename': filename, 'name': filename.rpartition('.')[0],
                                                       'size': size, 'status': status})
        self.others.add(json.loads(said)['id'])
        self.story.append(f'another machine has begun {filename}, {size}')

    # --- what programs do

    def content(self):
        if self.rng.random() < 0.08:
            return self.rng.randbytes(self.rng.randrange(9 << 20, 30 << 20))
        return self.rng.randbytes(self.rng.choice([40, 1000, 70000, 300000]) + self.rng.randrange(50000))

    def files(self, closed=True):
        """Those that were dropped."""
        return [p for p in super().files(closed) if p.count('/') == 1]

    def name(self, folder=UP):
        self.serial += 1
        return f'{folder}/{self.rng.choice(STEMS)} {self.serial}.{self.rng.choice(["ply", "obj", "STL"])}'

    def open(self, path, flags):
        handle = super().open(path, flags)
        self.files_named[os.path.basename(path)].append(handle[1])
        return handle

    def rename(self, old, new):
        moved, over = self.tree[old], self.tree.get(new)
        if moved:  # known by it even if the answer does not come
            self.files_named[os.path.basename(new)].append(moved)
        super().rename(old, new)
        if over:
            self.seen['replaced'] += 1

    def do_create(self):
        if len(self.tree) > MOST:
            return self.do_unlink()
        path, data = self.name(), self.content()
        if self.rng.random() < 0.3 and not self.lag:
            self.other(os.path.basename(path), len(data))
        handle = self.step_open(path)
        self.fill(handle, data)
        self.done(handle)

    def step_open(self, path):
        return self.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def do_recreate(self):
        """unlink, and another of that name."""
        path = self.rng.choice(self.files())
        self.unlink(path)
        handle = self.step_open(path)
        self.fill(handle, self.content())
        self.close(handle)

    def do_unlink(self):
        self.unlink(self.rng.choice(self.files(closed=False)))

    def unlink(self, path):
        """What was sent can be taken back; what was not is only gone, and what was sent before it is what
        could be."""
        file = self.tree[path]
        sent = self.state(path) == 'synced'
        self.step(f'unlink {path}, {"" if sent else "not "}sent', lambda: os.unlink(self.at(path)),
                  lambda: self.tree.pop(path))
        self.removed = [(p, f) for p, f in self.removed if p != path]
        if sent and not file.handle and not file.dirty:
            self.removed.append((path, file))

    def program(self, *argv):
        """Its status; a daemon that was killed fails it, which tells nothing."""
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        if self.killed.is_set():
            raise OSError(errno.ENOTCONN, 'killed')
        return done.returncode, done.stdout.decode(errors='replace')

    def close_all(self):
        """Before a program is started: the kernel tells the drive of its copies of descriptors as of closes."""
        for handle in list(self.handles):
            self.close(handle)

    def do_undelete(self):
        if not self.removed:
            return
        path, file = self.removed.pop()
        if path in self.tree:
            return
        self.close_all()

        def undelete():
            status, said = self.program(self.drive.pm, 'undelete', self.at(path))
            if status != 0:
                raise OSError(errno.EINVAL, said)

        def back():
            self.tree[path] = file
            self.seen['undeleted'] += 1
        try:
            self.step(f'undelete {path}', undelete, back)
        except OSError:
            self.seen['not undeleted'] += 1

    def do_remove_model(self):
        path = self.rng.choice(self.files())
        file = self.tree[path]
        try:
            if self.state(path) != 'synced':
                return
            folder = f'models/{os.getxattr(self.at(path), "user.sharemy3d.modelId").decode()}'
            names = os.listdir(self.at(folder))
            for name in names:
                self.step(f'unlink {folder}/{name}', lambda: os.unlink(self.at(f'{folder}/{name}')))
        except OSError as e:
            if e.errno in DEAD or self.killed.is_set():
                raise Killed()
            if e.errno in (errno.ENOENT, errno.ENODATA):  # not listed yet
                return
            raise

        def gone():
            self.leaving[path] = self.tree.pop(path)
        try:
            self.step(f'rmdir {folder} of {path}', lambda: os.rmdir(self.at(folder)), gone)
        except Killed:
            self.tree.pop(path)
            self.maybe[path], self.doubt = file, None
            raise
        self.seen['models removed'] += 1

    def state(self, path):
        return os.getxattr(self.at(path), 'user.polymount.state').decode()

    # --- drafts

    def draft_file(self, path):
        return next((p for p, f in self.tree.items() if f and p.startswith(path + '/')), None)

    def do_draft(self):
        if len(self.drafts) >= 3:
            return self.do_remove_draft()
        self.serial += 1
        name = f'Draft {self.serial}'
        path = f'{UP}/{name}'

        def made():
            self.tree[path], self.drafts[path] = None, Draft(name)
        self.step(f'mkdir {path}', lambda: os.mkdir(self.at(path)), made)
        handle = self.step_open(self.name(path))
        self.fill(handle, self.content())
        self.close(handle)
        if self.rng.random() < 0.7:
            self.tell(path)
        if self.rng.random() < 0.5:
            self.commit(path)

    def tell(self, path):
        """Its particulars; a write in doubt may be either, or empty."""
        self.serial += 1
        name = f'Told {self.serial}'
        draft = self.drafts[path]
        draft.names.add(name)

        def put():
            with open(self.at(f'{path}/info.json'), 'w') as f:
                f.write(json.dumps({'name': name, 'description': 'of a crash'}))

        def told():
            draft.names = {name}
        self.step(f'info.json of {path}: {name}', put, told, None, [])

    def commit(self, path):
        self.drafts[path].may = True
        self.step(f'publish {path}', lambda: os.setxattr(self.at(path), 'user.polymount.publish', b''))

    def do_publish(self):
        if paths := [p for p, d in self.drafts.items() if not d.may and not d.removing and self.draft_file(p)]:
            self.commit(self.rng.choice(paths))

    def do_rename_draft(self):
        paths = [p for p, d in self.drafts.items() if not d.removing]
        if not paths:
            return
        old = self.rng.choice(paths)
        self.serial += 1
        new = f'{UP}/Moved {self.serial}'
        self.drafts[old].names |= {f'Moved {self.serial}'}

        def moved():
            for path in [p for p in self.tree if p == old or p.startswith(old + '/')]:
                self.tree[new + path[len(old):]] = self.tree.pop(path)
            self.drafts = {new if p == old else p: d for p, d in self.drafts.items()}
        self.step(f'rename {old} to {new}', lambda: os.rename(self.at(old), self.at(new)), moved)

    def do_remove_draft(self):
        if self.drafts:
            self.remove_draft(self.rng.choice(list(self.drafts)))

    def remove_draft(self, path):
        self.drafts[path].removing = True
        for name in [p for p in self.tree if p == path or p.startswith(path + '/')]:
            self.tree.pop(name)
        try:
            for name in os.listdir(self.at(path)):
                self.step(f'unlink {path}/{name}', lambda: os.unlink(self.at(f'{path}/{name}')))
            self.step(f'rmdir {path}', lambda: os.rmdir(self.at(path)))
        except Killed:
            self.doubt = None
            raise
        except OSError as e:
            if e.errno in DEAD or self.killed.is_set():
                raise Killed()
            if e.errno != errno.ENOENT:
                raise
        self.drafts.pop(path)
        self.seen['drafts removed'] += 1

    # --- rsync

    def do_rsync(self):
        if not self.syncs:
            self.serial += 1
            source, names = f'{self.source}/{self.serial}', []
            os.makedirs(source)
            for i in range(self.rng.randrange(1, 4)):
                names.append(f'r{self.serial} {i}.ply')
                with open(f'{source}/{names[-1]}', 'wb') as f:
                    f.write(self.content())
            self.syncs[source] = names
        self.close_all()
        self.rsync(next(iter(self.syncs)))

    def rsync(self, source):
        try:
            status, said = self.step(f'rsync {source}', lambda: self.program(
                'rsync', '-ai', source + '/', self.at(UP) + '/'))
        except Killed:
            self.doubt = None
            raise
        if status != 0:
            self.fail(f'rsync {source} says', said.splitlines())
        for name in self.syncs.pop(source):
            self.tree[f'{UP}/{name}'] = file = File()
            with open(f'{source}/{name}', 'rb') as f:
                file.data = f.read()
            file.close()
            self.files_named[name].append(file)
        again = self.program('rsync', '-ai', source + '/', self.at(UP) + '/')[1] if not self.killed.is_set() else ''
        if re.search('(?m)^[<>]f', again):
            self.fail('rsync sends again', again.splitlines())
        self.seen['rsyncs'] += 1

    def do_trouble(self):
        """A session dies."""
        if self.faults and (open_ones := [s for s in self.service.get('sm3d/sessions') if s['state'] == 'open']):
            session = self.rng.choice(open_ones)
            try:
                self.service.call('POST', 'sm3d/break', {'id': session['item'], 'status': self.rng.choice([404, 410])})
                self.seen['dead sessions'] += 1
            except urllib.error.HTTPError:  # it has ended meanwhile
                pass

    def do_wait(self):
        time.sleep(self.rng.random() * 0.3)

    DEEDS = {do_create: 6, Model.do_save: 1, Model.do_append: 1, Model.do_resume: 1, Model.do_rename: 2,
             Model.do_rename_over: 1.5, Model.do_replace: 3, do_recreate: 1.5, do_unlink: 2, do_undelete: 1.5,
             do_remove_model: 1.5, do_draft: 1.5, do_publish: 1, do_rename_draft: 0.7, do_remove_draft: 0.5,
             do_rsync: 1, do_trouble: 1, do_wait: 3}

    def deed(self):
        deed = self.rng.choices(list(self.DEEDS), list(self.DEEDS.values()))[0]
        if len(self.files()) < 2:
            deed = Crash.do_create
        try:
            deed(self)
        except OSError as e:
            if e.errno in DEAD or self.killed.is_set():
                raise Killed()
            if e.errno != errno.EPERM:  # it is sent
                raise
            self.seen['refused'] += 1

    # --- what must be there

    def apart(self, path):
        """Is not compared now."""
        top = '/'.join(path.split('/')[:2])
        return path in self.leaving or path in self.maybe or path.endswith('/info.json') or \
            (top in self.drafts and self.drafts[top].removing) or \
            (LEFT.search(path) and path not in self.tree) or \
            any(path == f'{UP}/{name}' for names in self.syncs.values() for name in names)

    def judge(self, shown):
        super().judge({p: what for p, what in shown.items() if not self.apart(p)})

    def tidy(self):
        """What the service does not take: nothing."""
        for path in [p for p in self.files() if not self.tree[p].data]:
            self.step(f'unlink empty {path}', lambda: os.unlink(self.at(path)), lambda: self.tree.pop(path))
        for path, draft in list(self.drafts.items()):
            file = self.tree.get(self.draft_file(path))
            if draft.removing or file is None or not file.data:
                self.remove_draft(path)
        for name in os.listdir(self.at(UP)):
            if LEFT.search(name) and f'{UP}/{name}' not in self.tree:
                os.unlink(self.at(f'{UP}/{name}'))
        for source in list(self.syncs):
            self.rsync(source)

    def check_service(self):
        self.killed.clear()
        self.mend(1)
        self.tidy()
        self.check_drafts()
        if self.faults:
            self.service.faults(self.rng)
            self.drive.sync(4)
            self.seen['faults met'] += self.service.faults_met()
            self.service.call('DELETE', 'faults')
        shown = self.drive.tree()  # and is there again, if the list lagged
        for path in [p for p in self.tree if p in shown and self.state(p).startswith('failed')]:
            self.story.append(f'retry {path}: {self.state(path)}')
            self.drive.retry(path)
            self.seen['retries'] += 1
        for draft in self.drafts.values():
            draft.may = True
        status, said = self.drive.sync(60)
        if status != 0:
            self.fail('sync says', said.splitlines()[-20:])
        self.check_models()
        self.check_shown()
        if breaches := self.service.get('breaches'):
            self.fail('the service met', breaches)
        self.seen['checks'] += 1

    def check_drafts(self):
        """Nothing of one is sent before."""
        held = self.service.held()
        wrong = [p for p, d in self.drafts.items() if not d.may and sha(self.tree[self.draft_file(p)].data) in held]
        if wrong:
            self.fail('sent, though they were not to be', wrong)

    def check_models(self):
        items = self.service.items()
        wrong = [f'{i}: of another machine, is gone' for i in self.others - {i['id'] for i in items}]
        made = collections.defaultdict(list)
        for item in items:
            if not item['seeded'] and item['status'] == 'UPLOADING' and not item['used']:
                wrong += self.left_behind(item)
            elif not item['seeded'] and not item['held']:
                wrong.append(f'has no bytes: {item}')
            elif not item['seeded']:
                made[sha(self.service.call('GET', 'sm3d/content', id=item['id']))].append(item)
        shown = self.drive.tree() if self.maybe else {}
        for path, file in self.maybe.items():
            if path in shown:
                self.tree[path] = file
        self.maybe = {}
        for path, file in self.tree.items():
            if not file or not file.data or file.dirty:
                continue
            found = made.pop(sha(file.data), [])
            if len(found) != 1:
                wrong.append(f'{path}, {len(file.data)} bytes: is {len(found)} models: {found}')
            draft = self.drafts.get(os.path.dirname(path))
            wrong += [f'{path}: its name is {i["name"]}, not of {draft.names}' for i in found
                      if draft and i['name'] not in draft.names]
        wrong += [f'is a model: {i}' for found in made.values() for i in found]
        if wrong:
            self.fail('the service has', wrong)

    def left_behind(self, item):
        """What nobody sends to: allowed only if the content was removed, or another took its place, while an
        answer was lost: nobody looks for it any more."""
        live = [f for f in self.tree.values() if f and any(f is named for named in self.files_named[item['filename']])]
        if any(len(f.data) == item['size'] for f in live):
            return [f'left uploading, though its file is there: {item}']
        self.seen['left by what was removed or changed'] += 1
        self.service.call('POST', 'sm3d/remove', {'id': item['id']})
        return []

    def check_shown(self):
        end = time.monotonic() + 20
        while True:
            shown = self.drive.tree()
            back = [f'{p}: is there, though its model was removed' for p in self.leaving if p in shown]
            back += self.differs({p: w for p, w in shown.items() if not self.apart(p)})
            if not back:
                break
            if time.monotonic() > end:
                self.fail('the drive shows', back)
            time.sleep(0.1)
        self.leaving, self.removed = {}, []

    def one(self, number):
        self.round = number
        super().one(number)


def run(pm, mnt, account, conf, control, log, seed, rounds, source, *how):
    crash = Crash(Uploads(pm, mnt, account, conf, log), Models(control), random.Random(int(seed)),
                  'faults' in how, source)
    crash.begin()
    main(crash, seed, int(rounds))


run(*sys.argv[1:])
