#!/usr/bin/env python3
"""As crash.py, with folders that become projects of 360-for-you, whose server is killed, too:
crash_360.py PM MNT ACCOUNT CONF CONTROL LOG SEED ROUNDS EMULATOR DATA [faults] [long]

A state folder lives for some rounds: then the hourly limits are used up, and all begins anew with other
readings of the service's document. At each check whatever is to be published is one project with exactly
the folder's content, no other draft became one, the session of each other draft has exactly its files,
and no session has anything of what was removed."""
import collections
import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error

from crash_lib import Drive, Killed, Model, Service, main, sha

STEMS = ['a b', 'a_b', 'A_B', 'ä b', 'a.b', '(a) b', 'plan', 'Scan', 'x' * 110, '_x_', 'ünï']
KINDS = ['jpg', 'JPG', 'e57', 'obj', 'txt']
READINGS = {'torn': ['drop', 'entry', 'keep'], 'overlap': ['keep', 'truncate'], 'short_every': [0, 0, 5],
            'flatten': ['strip', 'underscore', 'utf8'], 'name_case': ['fold', 'exact'],
            'gone_status': [404, 400], 'used_session': ['kept', 'gone'], 'expiry_from': ['creation', 'last_put'],
            'rate_shape': ['sliding', 'fixed'], 'retry_after': ['seconds', 'date'], 'process_ms': [0, 200]}
# The first tells least: what came of a lost POST may not be known for two minutes.
NAMINGS = [('same', 'none'), ('same', 'array'), ('other', 'array'), ('other', 'object'), ('taken', 'object')]
NOTHING_SENT = re.compile(r'(^|/)(\.hold|\.DS_Store|\._[^/]*)$')


class Draft:
    """may: it may have been published. done: it was. options: what its document may hold, None: none.
    rsync: the folder that it is made from."""

    def __init__(self, rsync=None):
        self.may, self.done, self.options, self.rsync = False, False, {None}, rsync


class Sessions(Service):
    """The emulator, which is started here. Options and breaches do not outlive it."""

    def __init__(self, control, program, data):
        super().__init__(control)
        self.program, self.data, self.options, self.process, self.ports = program, data, {}, None, None
        self.slow = False

    def start(self):
        ready = f'{self.data}.ready'
        with open(ready, 'wb') as out:
            self.process = subprocess.Popen([self.program, '--data', self.data, *(self.ports or [])], stdout=out)
        end = time.monotonic() + 30
        while not os.path.getsize(ready):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit('the emulator does not come up')
            time.sleep(0.01)
        with open(ready, 'rb') as said:
            told = json.loads(said.read())
        self.ports = ['--api', told['control'].split(':')[2].split('/')[0],
                      '--storage', told['storage'].split(':')[2].split('/')[0]]
        self.control = told['control']
        self.call('POST', 'options', self.options)
        return told

    def end(self):
        self.process.kill()
        self.process.wait()

    def get(self, what, **query):
        return json.loads(self.call('GET', what, **query))

    def digest(self, **what):
        """Name there -> digest."""
        lines = self.call('GET', '360/digest', **what).decode().splitlines()
        return {line[66:]: line[:64] for line in lines}

    def sessions(self):
        """Those which are open: id -> {name: digest}, incomplete files with None."""
        found = {}
        for s in self.get('360/sessions'):
            if s['state'] == 'open':
                found[s['id']] = {f['name']: None for f in s['files']} | self.digest(session=s['id'])
        return found

    def projects(self):
        found = collections.defaultdict(list)
        for p in self.get('360/projects'):
            found[p['title']].append(p)
        return found

    def held(self):
        return {d for s in self.sessions().values() for d in s.values()} | \
               {d for ps in self.projects().values() for p in ps for d in self.digest(project=p['name']).values()}

    def forget(self):
        for p in self.get('360/projects'):
            self.call('POST', '360/remove', {'name': p['name']})
        for s in self.sessions():
            self.call('POST', '360/expire', {'session': s})
        self.call('DELETE', '360/rates')
        self.call('DELETE', 'faults')

    def faults(self, rng):
        """About one request in ten meets something. A new daemon need not know of a Retry-After: it is no rule's."""
        self.call('DELETE', 'faults')
        skip = 0
        for _ in range(12):
            skip += rng.randrange(1, 12)
            kind = rng.choice([{'reset': 'before'}, {'reset': 'after'}, {'reset': 'during', 'reset_at': 700},
                               {'status': 503}, {'status': 500}, {'status': 429, 'header': 'Retry-After: 1'},
                               {'status': 504, 'processed': True}, {'cut': 20}, {'cut': 0}, {'body': ''},
                               {'garbage': True}, {'body': '<html>', 'header': 'Content-Type: text/html'}]
                              + [{'stall': 0}, {'stall': 10}] * self.slow)
            where = rng.choice(['any', 'any', 'put', 'session', 'progress', 'discard', 'open'])
            if where == 'any' and not self.slow:  # what came of a POST that was not made is known after 10 s
                where = rng.choice(['put', 'session', 'discard', 'open', 'project'])
            self.call('POST', 'faults', {'endpoint': where, 'skip': skip if where in ('any', 'put') else skip // 4,
                                         'count': 1, **kind})
        if rng.random() < 0.5:  # it was made, and nobody was told
            self.call('POST', 'faults', {'endpoint': 'create', 'count': 1, **rng.choice(
                [{'reset': 'after'}, {'cut': 0}, {'cut': 10}, {'status': 502, 'processed': True}, {'garbage': True}])})
        if rng.random() < 0.3:
            self.call('POST', 'faults', {'endpoint': 'put', 'count': 1, 'skip': rng.randrange(6), **rng.choice(
                [{'status': 400, 'body': '{"error":"invalid_content_range"}'},
                 {'status': 400, 'body': '{"error":"chunk_length_mismatch"}'},
                 {'status': 411, 'body': '{"error":"length_required"}'},
                 {'status': 413, 'body': '<html>'}, {'status': 404, 'body': 'Not Found'}])})


class Crash(Model):
    CHECKS = 0.5
    TEMPORARY = ['.{}.Xy12aZ', '{}.tmp']
    BUDGET = {'open': 16, 'create': 5}  # of what is allowed in an hour; what a crash leaves in doubt is spent, too

    def __init__(self, drive, service, rng, faults, conf, state, source):
        super().__init__(drive, service, rng, faults)
        self.conf, self.folder, self.source = conf, state, source
        self.drafts = {}
        self.idle, self.fresh, self.troubled = False, True, False

    # --- a life of the state folder

    def begin(self):
        """A new state folder, and other readings."""
        slug, listed = self.rng.choice(NAMINGS if self.service.slow else NAMINGS[1:])
        self.service.options = {f'360.{k}': self.rng.choice(v) for k, v in READINGS.items()}
        self.service.options |= {'360.slug': slug, '360.list': listed, '360.queue_ms': 50}
        self.service.call('POST', 'options', self.service.options)
        self.story.append(f'=== {self.service.options}')
        self.idle = self.rng.random() < 0.3
        conf = re.sub('(?m)^publish = .*', f'publish = {"idle 2s" if self.idle else "manual"}', self.conf['text'])
        with open(self.conf['path'], 'w') as f:
            f.write(conf)
        self.tree, self.drafts, self.doubt, self.fresh = {}, {}, None, True
        self.troubled = False

    def renew(self):
        """If the limits are used up: with the same service, which has forgotten everything."""
        used = self.service.get('360/rates')
        if all(used[k]['used'] < n for k, n in self.BUDGET.items()):
            return
        self.check_service()
        self.drive.end()
        shutil.rmtree(self.folder)
        self.service.forget()
        self.begin()
        self.seen['lives'] += 1
        self.drive.mount()

    # --- what programs do

    def content(self):
        if self.rng.random() < 0.03:
            return self.rng.randbytes(self.rng.choice([9 << 20, 17 << 20]))
        return super().content()

    def open_drafts(self):
        return sorted(p for p, d in self.drafts.items() if not d.done and not d.rsync)

    def folders(self):
        return self.open_drafts()

    def files(self, closed=True):
        return [p for p in super().files(closed) if p.split('/')[0] in self.open_drafts()]

    def name(self):
        self.serial += 1
        folder = self.rng.choice(self.folders())
        for _ in range(20):
            path = f'{folder}/{self.rng.choice(STEMS)}.{self.rng.choice(KINDS)}'
            if path not in self.tree:
                return path
        return f'{folder}/n{self.serial}.{self.rng.choice(KINDS)}'

    def do_mkdir(self):
        if len(self.open_drafts()) >= 3:
            return self.do_publish()
        self.serial += 1
        path = f'{self.rng.choice(["Scan", "Halle ä", "Büro (1. OG)"])} {self.serial}'

        def made():
            self.tree[path], self.drafts[path] = None, Draft()
            self.drafts[path].may = self.idle
        self.step(f'mkdir {path}', lambda: os.mkdir(self.at(path)), made)

    def do_retitle(self):
        old = self.rng.choice(self.open_drafts())
        self.serial += 1
        new = f'Title {self.serial}'

        def moved():
            for path in [p for p in self.tree if p == old or p.startswith(old + '/')]:
                self.tree[new + path[len(old):]] = self.tree.pop(path)
            self.drafts[new] = self.drafts.pop(old)
        self.step(f'rename {old} to {new}', lambda: os.rename(self.at(old), self.at(new)), moved)

    def do_empty(self):
        """rm -r of a draft."""
        path = self.rng.choice(self.open_drafts())
        for file in [p for p in self.tree if p.startswith(path + '/')]:
            self.step(f'unlink {file}', lambda: os.unlink(self.at(file)), lambda: self.tree.pop(file))

        def gone():
            self.tree.pop(path)
            self.drafts.pop(path)
        self.step(f'rmdir {path}', lambda: os.rmdir(self.at(path)), gone)
        self.seen['drafts removed'] += 1

    def do_options(self):
        path = self.rng.choice(self.open_drafts())
        draft, mode = self.drafts[path], self.rng.choice([0, 1, 2])
        draft.options.add(mode)

        def known():
            draft.options = {mode}
        self.step(f'options of {path}: {mode}', lambda: self.put_options(path, mode), known)

    def put_options(self, path, mode):
        with open(self.at(f'{path}/.project.json'), 'w') as f:
            f.write(json.dumps({'privacy_mode': mode}))

    def do_hold(self):
        path = f'{self.rng.choice(self.open_drafts())}/{self.rng.choice([".hold", ".hold", ".DS_Store"])}'
        if path in self.tree:
            self.step(f'unlink {path}', lambda: os.unlink(self.at(path)), lambda: self.tree.pop(path))
        else:
            self.close(self.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def close_all(self):
        """Before a program is started: the kernel tells the drive of its copies of descriptors as of closes."""
        for handle in list(self.handles):
            self.close(handle)

    def do_publish(self):
        path = self.rng.choice(self.open_drafts())
        draft = self.drafts[path]
        old, draft.may = draft.may, True
        try:
            if self.rng.random() < 0.5:
                self.step(f'publish {path}', lambda: os.setxattr(self.at(path), 'user.polymount.publish', b''))
            else:
                self.close_all()
                self.story.append(f'polymount publish {path}')
                self.drive.publish(path)
        except OSError as e:
            draft.may = old
            if e.errno not in (errno.EBUSY, errno.ENODATA, errno.EEXIST):
                raise
        self.seen['publish'] += 1

    def do_server(self):
        self.close_all()
        self.no_breaches()
        self.story.append('the server is killed')
        self.seen['faults met'] += self.service.faults_met()
        self.service.end()
        time.sleep(self.rng.random() * 0.1)
        self.service.start()
        self.seen['server restarts'] += 1

    def do_trouble(self):
        """A session ends, or the service loses some of a file."""
        sessions = [s for s in self.service.get('360/sessions') if s['state'] == 'open' and s['files']]
        if not sessions or not self.faults:
            return
        session = self.rng.choice(sessions)
        file = self.rng.choice(session['files'])
        call, order = '360/expire', {'session': session['id']}
        if file['received'] and self.rng.random() < 0.5:
            call, order = '360/rewind', {**order, 'name': file['name'], 'received': self.rng.randrange(file['received'])}
        self.story.append(f'{call} {order}')
        try:
            self.service.call('POST', call, order)
        except urllib.error.HTTPError:  # it has ended meanwhile
            pass
        self.troubled = True
        self.seen['troubles'] += 1

    def do_rsync(self):
        """A folder that is made by rsync, which goes on after each crash until it succeeds."""
        if not any(d.rsync and not d.done for d in self.drafts.values()):
            self.serial += 1
            path, source = f'rsync {self.serial}', f'{self.source}/{self.serial}'
            os.makedirs(source)
            for i in range(self.rng.randrange(1, 6)):
                with open(f'{source}/{self.rng.choice(STEMS)} {i}.jpg', 'wb') as f:
                    f.write(self.content())
            self.drafts[path] = Draft(source)
            self.drafts[path].may = self.idle
        path = next(p for p, d in self.drafts.items() if d.rsync and not d.done)
        self.close_all()
        self.story.append(f'rsync {path}')
        self.rsync(path)
        self.seen['rsync runs'] += 1

    def rsync(self, path):
        """What it says it did. It fails by a kill, or once it is published, else it is a bug."""
        draft = self.drafts[path]
        done = subprocess.run(['rsync', '-ai', draft.rsync + '/', self.at(path) + '/'],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        said = done.stdout.decode(errors='replace')
        if done.returncode != 0 and self.killed.is_set():
            raise Killed()
        if done.returncode != 0 and not (draft.may and ('Read-only' in said or 'busy' in said)):
            self.fail(f'rsync {path} says', said.splitlines())
        return said

    DEEDS = {**Model.DEEDS, do_mkdir: 3, do_retitle: 1, do_empty: 1, do_options: 1, do_hold: 1, do_publish: 1,
             do_server: 0.5, do_trouble: 0.7, do_rsync: 0.7}

    def deed(self):
        if not self.open_drafts():
            return self.do_mkdir()
        deed = self.rng.choices(list(self.DEEDS), list(self.DEEDS.values()))[0]
        if len(self.files()) < 2 and deed in Model.DEEDS:
            deed = Model.do_create
        try:
            deed(self)
        except OSError as e:
            if e.errno not in (errno.EROFS, errno.EBUSY, errno.EPERM):
                raise
            self.refused(e)
        published = [f for p, f in self.tree.items() if f and self.drafts[p.split('/')[0]].done]
        for handle in [h for h in self.handles if h[1] in published]:
            self.handles.remove(handle)
            handle[1].handle = None
            os.close(handle[0])

    def state(self, path):
        return os.getxattr(self.at(path), 'user.polymount.state').decode()

    def refused(self, err):
        """Something is being published, or was."""
        if not any(d.may for d in self.drafts.values()):
            self.fail('nothing is to be published, and refused was', [str(err)])
        for path in self.open_drafts():
            if self.drafts[path].may and self.state(path) == 'synced':
                self.drafts[path].done = True
        self.seen['refused'] += 1

    # --- what must be there

    def allowed(self, path, file, data, state):
        """What stays local is so, open or not."""
        if state == 'local' and NOTHING_SENT.search(path) and (file.dirty or (self.doubt and self.doubt[2] is file)):
            return None
        return super().allowed(path, file, data, state)

    def judge(self, shown):
        others = {p['name'] for p in self.service.get('360/projects')}
        for path in list(shown):
            top = path.split('/')[0]
            if (top in self.drafts and self.drafts[top].rsync) or (top not in self.drafts and top in others):
                del shown[path]
        super().judge(shown)

    def expected(self, path):
        """Name here -> digest, of what is to be in the project."""
        if source := self.drafts[path].rsync:
            found = {}
            for name in os.listdir(source):
                with open(os.path.join(source, name), 'rb') as f:
                    found[name] = sha(f.read())
            return found
        return {p[len(path) + 1:]: sha(f.data) for p, f in self.tree.items()
                if p.startswith(path + '/') and not NOTHING_SENT.search(p)}

    @staticmethod
    def named(name):
        """What the service may know it by."""
        stem, dot, kind = name.rpartition('.')
        stem = re.sub('[^A-Za-z0-9._-]', '_', stem).lstrip('._-')[:100].rstrip('._-') or 'file'
        return re.compile(re.escape(stem[:90]) + r'.{0,10}\.' + kind.lower())

    def same(self, path, held):
        wanted = self.expected(path)
        if sorted(wanted.values()) != sorted(str(d) for d in held.values()):
            return f'{path}: is {held}, not {wanted}'
        if len({name.lower() for name in held}) != len(held):
            return f'{path}: has names twice: {sorted(held)}'
        for name, digest in wanted.items():
            if not any(d == digest and self.named(name).fullmatch(n) for n, d in held.items()):
                return f'{path}: {name} is not known by its name: {sorted(held)}'
        return None

    def no_breaches(self):
        if breaches := self.service.get('breaches'):
            self.fail('the service met', breaches)

    def check_service(self):
        self.killed.clear()
        self.mend(1)
        self.tidy()
        if self.faults:
            self.service.faults(self.rng)
            self.drive.sync(4)
            self.publish_some(0.3, 4)
            self.seen['faults met'] += self.service.faults_met()
            self.service.call('DELETE', 'faults')
        self.retry_failed()
        status, said = self.drive.sync(60)
        if status != 0:
            self.fail('sync says', said.splitlines()[-20:])
        if not self.troubled:  # what was lost is found when it is published
            self.check_sessions([p for p, d in self.drafts.items() if not d.may and not d.done])
        self.publish_some(0.4, 60)
        self.check_projects()
        self.check_rests()
        self.no_breaches()
        self.seen['checks'] += 1

    def tidy(self):
        """What keeps a draft from being published."""
        for path in [p for p in self.files() if not NOTHING_SENT.search(p) and p.split('.')[-1] not in KINDS]:
            self.polite(f'unlink {path}', lambda: os.unlink(self.at(path)), lambda: self.tree.pop(path))
        for path in self.open_drafts():
            if len(self.drafts[path].options) > 1:
                self.polite(f'options of {path}', lambda: self.put_options(path, 0),
                            lambda: self.drafts[path].__dict__.update(options={0}))
        for path, draft in self.drafts.items():
            if draft.rsync and not draft.done:
                for name in os.listdir(self.at(path)) if os.path.isdir(self.at(path)) else []:
                    if re.fullmatch(r'\..*\.[A-Za-z0-9]{6}', name):
                        self.polite(f'unlink {path}/{name}', lambda: os.unlink(self.at(f'{path}/{name}')))
                self.rsync(path)

    def polite(self, what, call, apply=None):
        """What may be refused because the draft is just published."""
        try:
            self.step(what, call, apply)
        except OSError as e:
            if e.errno not in (errno.EROFS, errno.EBUSY):
                raise
            self.refused(e)

    def retry_failed(self):
        for path in self.files() + self.open_drafts():
            if self.state(path).startswith('failed'):
                self.story.append(f'retry {path}: {self.state(path)}')
                self.drive.retry(path)
                self.seen['retries'] += 1

    def publish_some(self, share, seconds):
        """Those which may be published already, and some others."""
        left = self.BUDGET['create'] + 2 - self.service.get('360/rates')['create']['used']
        for path, draft in self.drafts.items():
            wanted = draft.may or draft.rsync or self.rng.random() < share
            if draft.done or not wanted or not self.expected(path) or left <= 0:
                continue
            if f'{path}/.hold' in self.tree:
                if draft.may or self.rng.random() < 0.5:
                    continue
                self.step(f'unlink {path}/.hold', lambda: os.unlink(self.at(f'{path}/.hold')),
                          lambda: self.tree.pop(f'{path}/.hold'))
            left -= 1
            draft.may = True
            status, said = self.drive.publish_now(path, seconds)
            self.story.append(f'publish {path}: {status}, {said}')
            draft.done = status == 0 or 'published already' in said
            if not draft.done and seconds > 10:
                self.fail(f'publish {path} says', [str(status), said])

    def check_sessions(self, paths):
        """Each of these drafts is in a session as it is here, or has nothing."""
        sessions = self.service.sessions()
        for path in paths:
            why = [self.same(path, held) for held in sessions.values()]
            if self.expected(path) and None not in why:
                self.fail('no session has', [path] + why)

    def check_projects(self):
        projects = self.service.projects()
        wrong = []
        for path, draft in self.drafts.items():
            made = projects.pop(path, [])
            if len(made) > 1:
                wrong.append(f'{path}: is {len(made)} projects')
            elif made and not draft.may:
                wrong.append(f'{path}: was not to be published')
            elif not made and draft.done:
                wrong.append(f'{path}: is no project')
            elif made:
                draft.done = True
                wrong += filter(None, [self.same(path, self.service.digest(project=made[0]['name'])),
                                       self.modes(path, made[0])])
                if f'{path}/.hold' in self.tree:
                    wrong.append(f'{path}: is published in spite of .hold')
        wrong += [f'{title}: is a project' for title, made in projects.items() if made[0]['request']]
        if wrong:
            self.fail('the service has', wrong)
        for path, draft in self.drafts.items():
            if draft.rsync and draft.done and re.search('(?m)^[<>]f', said := self.rsync(path)):
                self.fail('rsync sends again', said.splitlines())

    def modes(self, path, project):
        wanted = {2 if o is None else o for o in self.drafts[path].options}
        got = project['request']['privacy_mode']
        return None if got in wanted else f'{path}: privacy_mode is {got}, not {wanted}'

    def check_rests(self):
        """No session has anything but what is in a draft."""
        end = time.monotonic() + 60
        while True:
            whole = [self.expected(p).values() for p, d in self.drafts.items() if not d.done]
            rest = [(s, held) for s, held in self.service.sessions().items()
                    if held and not any(set(held.values()) <= {*here, None} for here in whole)]
            if not rest:
                return
            if time.monotonic() > end:
                self.fail('there are sessions of nothing that is here', [str(r) for r in rest])
            time.sleep(0.1)

    def learn(self):
        """The service is seen to make a project, so that it is known how it names them."""
        self.killed = threading.Event()
        path = f'first {self.serial}'
        self.serial += 1
        self.drafts[path], self.tree[path] = Draft(), None
        os.mkdir(self.at(path))
        handle = self.open(f'{path}/a.jpg', os.O_WRONLY | os.O_CREAT)
        self.write(handle, 0, b'first')
        self.close(handle)
        self.drafts[path].may = True
        status, said = self.drive.publish_now(path, 60)
        if status != 0:
            self.fail(f'publish {path} says', [said])
        self.drafts[path].done, self.fresh = True, False

    def one(self, number):
        self.round = number
        if self.fresh:
            self.learn()
        self.renew()
        if self.fresh:
            self.learn()
        super().one(number)


class Publisher(Drive):
    """polymount publish, waited for or not: it must end when its daemon does."""

    def __init__(self, *args):
        super().__init__(*args)
        self.running = []

    def queued(self):
        """Files that no session has whole: a draft itself is always pending."""
        said = subprocess.run([self.pm, '-c', self.conf, 'status', '--json'], check=True, timeout=30,
                              stdout=subprocess.PIPE).stdout
        return sum(u['path'].count('/') > 2 and u['state'] != 'sent' for u in json.loads(said)['uploads'])

    def publish(self, path):
        self.running.append(subprocess.Popen([self.pm, 'publish', os.path.join(self.top, path)],
                                             stdout=self.log, stderr=self.log))

    def publish_now(self, path, seconds):
        with subprocess.Popen([self.pm, 'publish', os.path.join(self.top, path)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
                return -1, 'does not end: ' + said.decode(errors='replace')[-500:]
            return process.returncode, said.decode(errors='replace')[-500:]

    def bury(self, mounted=True):
        super().bury(mounted)
        for process in self.running:
            process.wait(timeout=30)
        self.running = []


def run(pm, mnt, account, conf, control, log, seed, rounds, emulator, data, *how):
    service = Sessions(control, emulator, data)
    service.slow = 'long' in how
    with open(conf) as f:
        text = f.read()
    told = service.start()
    text = re.sub('(?m)^endpoint = .*', f'endpoint = {told["three_sixty"]}', text)
    text = re.sub('(?m)^token = .*', f'token = {told["three_sixty_token"]}', text)
    state = re.search('(?m)^dir = (.*)', text).group(1)
    crash = Crash(Publisher(pm, mnt, account, conf, log), service, random.Random(int(seed)), 'faults' in how,
                  {'path': conf, 'text': text}, state, data + '.rsync')
    try:
        crash.begin()
        main(crash, seed, int(rounds))
    finally:
        service.end()


run(*sys.argv[1:])
