#!/usr/bin/env python3
"""A seeded random workload on the drive, kill -9 of its daemon at random moments, and a model of what
must be there afterwards: crash.py PM MNT ACCOUNT CONF CONTROL LOG SEED ROUNDS [faults]

Every call on the mount is a step of its own, told to the model when it was answered. At a kill one
step is in doubt: its outcome may be either. After each remount the drive must show the model, file
by file; after each sync, at random rounds, the service must hold it: everything closed is there,
whole, once, and nothing removed is back. A file that was open and written to is `interrupted`, with
what was written, and is not on the service as such. The last line says what was met on the way. It
fails if fewer than half of the kills found something queued."""
import collections
import json
import os
import random
import sys

from crash_lib import FILES, FOLDERS, Drive, Model, Service, main, sha


class Tree(Service):
    def tree(self):
        """Path -> list of digests (of folders None): a path met twice shows."""
        found = collections.defaultdict(list)
        for entry in json.loads(self.call('GET', 'tree', path='/')):
            if entry['type'] != 'file':
                found[entry['path'].lstrip('/')].append(None)
        for line in self.call('GET', 'digest', path='/').decode().splitlines():
            found[line[66:]].append(line[:64])
        return found

    def held(self):
        return {d for digests in self.tree().values() for d in digests}

    def faults(self, rng):
        """About one request in ten meets something. No Retry-After: a new daemon does not know of it."""
        self.call('DELETE', 'faults')
        skip = 0
        for _ in range(12):
            skip += rng.randrange(1, 12)
            kind = rng.choice([{'reset': 'before'}, {'reset': 'after'}, {'reset': 'during', 'reset_at': 700},
                               {'status': 503}, {'status': 429}, {'status': 500}, {'cut': 20},
                               {'stall': rng.choice([0, 10])}])
            self.call('POST', 'faults', {'skip': skip, 'count': 1, **kind})


class Crash(Model):
    def do_mkdir(self):
        if len(self.folders()) >= FOLDERS:
            return self.do_rmdir()
        self.serial += 1
        path = os.path.join(self.rng.choice([''] + self.folders()), f'd{self.serial}')
        if path.count('/') > 3:
            return

        def made():
            self.tree[path] = None
        self.step(f'mkdir {path}', lambda: os.mkdir(self.at(path)), made)

    def do_rmdir(self):
        empty = [d for d in self.folders() if not any(p.startswith(d + '/') for p in self.tree)]
        if empty:
            path = self.rng.choice(empty)
            self.step(f'rmdir {path}', lambda: os.rmdir(self.at(path)), lambda: self.tree.pop(path))

    def do_move_folder(self):
        if self.folders():
            old = self.rng.choice(self.folders())
            into = self.rng.choice([''] + [d for d in self.folders() if d != old and not d.startswith(old + '/')])
            self.serial += 1
            if into.count('/') < 2:
                self.rename(old, os.path.join(into, f'd{self.serial}'))

    def do_copy(self):
        if len(self.tree) > FILES:
            return
        source = self.tree[path := self.rng.choice(self.files())]
        handle = self.open(self.name(), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        fd = self.step(f'open {path} to read', lambda: os.open(self.at(path), os.O_RDONLY))
        try:
            at = 0
            while at < len(source.data):
                at += self.copy_some(fd, handle, source, at)
        finally:
            os.close(fd)
        self.close(handle)

    def copy_some(self, fd, handle, source, at):
        target = handle[1]
        upto = source.data  # what may be there at most
        n = self.step(f'copy to {handle[2]} from {at}',
                      lambda: os.copy_file_range(fd, handle[0], len(source.data) - at, at, at), None, target, [upto])
        if n <= 0:
            raise AssertionError('a copy that goes not on')
        target.data, target.dirty = target.data + source.data[at:at + n], True
        return n

    DEEDS = {**Model.DEEDS, do_mkdir: 2, do_rmdir: 1, do_move_folder: 1, do_copy: 2}

    def check_service(self):
        self.mend(1)
        if self.faults:
            self.service.faults(self.rng)
            self.drive.sync(4)
            self.seen['faults met'] += self.service.faults_met()
            self.service.call('DELETE', 'faults')
        status, said = self.drive.sync(60)
        if status != 0:
            self.fail('sync says', said.splitlines()[-20:])
        held = self.service.tree()
        wrong = [f'{p}: {len(d)} times' for p, d in held.items() if len(d) > 1]
        for path, file in self.tree.items():
            digest = held.pop(path, [0])[0]
            if digest != (None if file is None else sha(file.data)):
                wrong.append(f'{path}: ' + ('is missing' if digest == 0 else 'is another'))
        wrong += [f'{p}: is there' for p in held]
        if wrong:
            self.fail('the service has', wrong)
        if breaches := json.loads(self.service.call('GET', 'breaches')):
            self.fail('the service met', breaches)
        self.seen['syncs'] += 1


def start(pm, mnt, account, conf, control, log, seed, rounds, *how):
    crash = Crash(Drive(pm, mnt, account, conf, log), Tree(control), random.Random(int(seed)), how == ('faults',))
    main(crash, seed, int(rounds))


start(*sys.argv[1:])
