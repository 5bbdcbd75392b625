#!/usr/bin/env python3
"""What POSIX asks of a file system, as a list of small cases. Usage: cases.py FOLDER

Prints one line a case: its name and what happened, in words that do not depend on the file system (no inode
numbers, no clock). Run it on a folder of the host and on a mounted volume: the outputs must be equal. It also
judges by itself: a case that raises something other than an OSError that it records is a failure. Cases about
permissions act as user 1000 and are left out, by name, when not run as root.
"""
import contextlib
import errno
import fcntl
import mmap
import os
import stat
import sys
import tempfile
import time

CASES = []
ROOT = os.geteuid() == 0


def case(function):
    CASES.append(function)
    return function


def attempt(function, *arguments, **keywords):
    """The result, or the name of the error."""
    try:
        return function(*arguments, **keywords)
    except OSError as error:
        return errno.errorcode[error.errno]


def write(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def shape(path):
    s = os.lstat(path)
    return stat.filemode(s.st_mode), s.st_nlink, s.st_size if not stat.S_ISDIR(s.st_mode) else "-"


@contextlib.contextmanager
def roomy(probe):
    """A folder for what not every file system of a host takes and a mounted volume must: below this one, or in memory
    where `probe` fails on a folder of the host; None where it fails there, too."""
    device = os.stat(".").st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as mounts:
        mounted = any(line.split()[2] == number and " - fuse" in line for line in mounts)
    for place in (".", "/dev/shm"):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            if mounted or attempt(probe, folder) is None:
                yield folder
                return
    yield None


class As:
    """Acts as another user inside a with block."""

    def __init__(self, uid, gid, groups=()):
        self.ids = uid, gid, list(groups)

    def __enter__(self):
        os.setgroups(self.ids[2])
        os.setegid(self.ids[1])
        os.seteuid(self.ids[0])

    def __exit__(self, *_):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


# --- open and create

@case
def create_modes_follow_umask():
    old = os.umask(0o027)
    write("a", mode=0o666)
    os.mkdir("d", 0o777)
    os.umask(old)
    return shape("a"), shape("d")


@case
def exclusive_create_refuses_what_exists():
    write("a")
    os.symlink("nowhere", "l")
    return [attempt(os.open, n, os.O_CREAT | os.O_EXCL | os.O_RDWR) for n in ("a", "l")]


@case
def open_errors():
    write("a")
    os.mkdir("d")
    os.symlink("l", "l")
    os.symlink("a", "good")
    return [attempt(os.open, *x) for x in (("x", os.O_RDONLY), ("a/b", os.O_RDONLY), ("d", os.O_WRONLY),
                                           ("l", os.O_RDONLY), ("a", os.O_RDONLY | os.O_DIRECTORY),
                                           ("good", os.O_RDONLY | os.O_NOFOLLOW),
                                           ("n" * 256, os.O_CREAT | os.O_RDWR), ("", os.O_RDONLY))]


@case
def names_of_all_lengths_and_bytes():
    names = [b"n" * 255, bytes(range(1, 47)), bytes(range(48, 256)), "ü".encode() * 127, b"-", b"...", b" "]
    for name in names:
        write(name, name)
    return sorted(os.listdir(b".")) == sorted(names), all(read(n) == n for n in names)


@case
def truncating_open_empties_and_keeps_mode():
    write("a", b"data" * 5000, 0o751)
    write("a", b"x")
    return shape("a"), read("a")


@case
def creating_through_a_dangling_link_makes_its_target():
    os.symlink("target", "l")
    write("l", b"x")
    return shape("target"), shape("l")


# --- unlink

@case
def unlinked_file_lives_while_open():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"1" * 100000)
    os.unlink("a")
    os.pwrite(fd, b"2", 99999)
    os.ftruncate(fd, 200000)
    result = os.fstat(fd).st_nlink, os.fstat(fd).st_size, os.pread(fd, 3, 99998), attempt(os.stat, "a")
    write("a", b"new")
    result += (os.pread(fd, 1, 0), read("a"))
    os.close(fd)
    return result


@case
def unlink_errors():
    os.mkdir("d")
    write("a")
    return [attempt(os.unlink, n) for n in ("d", "x", "a/b", "n" * 256)]


@case
def unlinking_one_of_two_names():
    write("a", b"x")
    os.link("a", "b")
    before = shape("a")
    os.unlink("a")
    return before, shape("b"), read("b")


@case
def fsync_of_an_unlinked_file():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"z" * 5000)
    os.unlink("a")
    result = attempt(os.fsync, fd)
    os.close(fd)
    return result


# --- directories

@case
def directory_link_counts():
    os.mkdir("d")
    counts = [os.stat("d").st_nlink]
    os.mkdir("d/e")
    os.mkdir("d/f")
    write("d/file")
    counts.append(os.stat("d").st_nlink)
    os.rmdir("d/e")
    os.rename("d/f", "f")
    counts.append(os.stat("d").st_nlink)
    return counts


@case
def mkdir_and_rmdir_errors():
    os.mkdir("d")
    os.mkdir("d/e")
    write("a")
    os.symlink("d", "l")
    return [attempt(os.mkdir, n) for n in ("d", "a", "x/y", "a/b", "l", ".", "/", "n" * 256)] + \
           [attempt(os.rmdir, n) for n in ("d", "a", "x", "l", "d/.", "d/..")]


@case
def removed_working_directory_is_empty_and_final():
    os.mkdir("d")
    os.chdir("d")
    os.rmdir("../d")
    result = attempt(os.open, "a", os.O_CREAT | os.O_RDWR), attempt(os.mkdir, "e"), os.listdir(".")
    os.chdir("..")
    return result


@case
def listing_two_thousand_names_while_removing_them():
    os.mkdir("d")
    for i in range(2000):
        write(f"d/{i}")
    seen = []
    with os.scandir("d") as entries:
        for entry in entries:
            seen.append(entry.name)
            os.unlink(f"d/{entry.name}")
    return len(seen), len(set(seen)), os.listdir("d")


@case
def listing_sees_what_was_created_and_renamed():
    os.mkdir("d")
    write("d/a")
    first = sorted(os.listdir("d"))
    write("d/b")
    os.rename("d/a", "d/c")
    second = sorted(os.listdir("d"))
    os.unlink("d/b")
    return first, second, os.listdir("d")


@case
def types_in_listings():
    write("f")
    os.mkdir("d")
    os.symlink("f", "l")
    with os.scandir(".") as entries:
        return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in entries)


@case
def deep_directories():
    path = "."
    for _ in range(60):
        path += "/directory"
        os.mkdir(path)
    write(path + "/leaf", b"deep")
    return read(path + "/leaf"), sum(len(d) for _, d, _ in os.walk("."))


# --- rename

@case
def rename_replaces_a_file_that_is_open():
    write("a", b"new")
    write("b", b"old" * 2000)
    fd = os.open("b", os.O_RDWR)
    os.rename("a", "b")
    result = read("b"), os.pread(fd, 3, 0), os.fstat(fd).st_nlink, attempt(os.stat, "a")
    os.close(fd)
    return result


@case
def rename_of_directories():
    os.makedirs("a/x")
    os.makedirs("b")
    os.makedirs("full/y")
    write("f")
    return [attempt(os.rename, *x) for x in (("a", "full"), ("a", "f"), ("f", "a"), ("a", "a/x/z"), ("a", "a"),
                                             ("a", "b"), ("b/x", "full/y"), ("x", "y"))] + \
           [sorted(os.listdir(".")), sorted(os.listdir("full"))]


@case
def rename_moves_parents():
    os.makedirs("a/x")
    os.mkdir("b")
    os.rename("a/x", "b/x")
    os.chdir("b/x")
    there = sorted(os.listdir(".."))
    os.chdir("../..")
    return there, os.stat("a").st_nlink, os.stat("b").st_nlink


@case
def rename_between_two_names_of_one_file():
    write("a", b"x")
    os.link("a", "b")
    os.rename("a", "b")
    return sorted(os.listdir(".")), shape("a")


@case
def rename_of_symbolic_links():
    write("a", b"x")
    os.symlink("a", "l")
    os.rename("l", "m")
    os.symlink("m", "n")
    os.rename("a", "n")
    return os.readlink("m"), shape("n"), attempt(os.stat, "m")


# --- links

@case
def link_errors():
    write("a")
    os.mkdir("d")
    return [attempt(os.link, *x) for x in (("d", "e"), ("a", "a"), ("x", "y"), ("a", "d"), ("a", "x/y"),
                                           ("a", "n" * 256))]


@case
def link_shares_everything():
    write("a", b"1" * 10)
    os.link("a", "b")
    os.chmod("a", 0o640)
    os.truncate("b", 3)
    return shape("a"), shape("b"), os.stat("a").st_ino == os.stat("b").st_ino


@case
def link_to_a_symbolic_link():
    os.symlink("nowhere", "l")
    os.link("l", "m", follow_symlinks=False)
    return os.readlink("m"), os.lstat("l").st_nlink


@case
def symbolic_links():
    target = "t" * 1500
    os.symlink(target, "l")
    os.symlink("d/./../x", "m")
    return os.readlink("l") == target, shape("l"), os.readlink("m"), attempt(os.readlink, "."), \
        attempt(os.symlink, "x", "l"), attempt(os.symlink, "", "z")


@case
def symbolic_links_as_long_as_a_path_may_be():
    with roomy(lambda folder: os.symlink("x" * 4095, folder + "/probe")) as folder:
        out = []
        for size in (2047, 2048, 2049, 4094, 4095):
            target = "./" * (size // 2 - 1) + "leaf"[-2 - size % 2:]
            link = f"{folder}/l{size}"
            os.symlink(target, folder + "/made")
            os.rename(folder + "/made", link)
            out.append((shape(link), os.readlink(link) == target))
        write(folder + "/eaf", b"followed")
        return out, read(folder + "/l4095"), attempt(read, folder + "/l4094"), \
            attempt(os.symlink, "t" * 4096, folder + "/made")


# --- content

@case
def sparse_files():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 1 << 33)
    os.pwrite(fd, b"mid", 1 << 20)
    os.fsync(fd)
    result = os.fstat(fd).st_size, os.fstat(fd).st_blocks < 1000, os.pread(fd, 4, (1 << 20) - 1), \
        os.pread(fd, 8, 1 << 33), os.pread(fd, 10, 1 << 32)
    os.close(fd)
    return result


@case
def truncate_shorter_and_longer_reads_zeros():
    out = []
    for size in (0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 65535, 65536, 65537, 200000):
        write("a", b"x" * 200000)
        os.truncate("a", size)
        os.truncate("a", size + 5000)
        data = read("a")
        out.append((len(data), data.count(b"x"), data[size:].count(0)))
    return out


@case
def small_file_grows_through_all_forms():
    expected = b""
    fd = os.open("a", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    for i in range(300):
        piece = bytes([i % 256]) * (i * 7 % 1000 + 1)
        os.write(fd, piece)
        expected += piece
    os.close(fd)
    return read("a") == expected, len(expected)


@case
def append_ignores_the_offset():
    write("a", b"12345")
    fd = os.open("a", os.O_RDWR | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"67")
    os.truncate("a", 3)
    os.write(fd, b"8")
    os.close(fd)
    return read("a")


@case
def size_errors():
    write("a")
    return attempt(os.truncate, "a", -1), attempt(os.truncate, ".", 0), attempt(os.truncate, "x", 0)


@case
def mapped_memory_and_writes_agree():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 100000)
    with mmap.mmap(fd, 100000) as memory:
        memory[5000:5005] = b"hello"
        seen = os.pread(fd, 5, 5000)
        os.pwrite(fd, b"world", 50000)
        back = memory[50000:50005]
        memory.flush()
    os.close(fd)
    return seen, back, read("a")[4999:5006]


@case
def reading_at_and_beyond_the_end():
    write("a", b"12345")
    fd = os.open("a", os.O_RDONLY)
    result = os.pread(fd, 10, 3), os.pread(fd, 10, 5), os.pread(fd, 10, 500), attempt(os.write, fd, b"x")
    os.close(fd)
    return result


@case
def seeking_for_data_finds_all_data():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"x", 300000)
    data = os.lseek(fd, 0, os.SEEK_DATA)
    end = attempt(os.lseek, fd, 1 << 20, os.SEEK_DATA)
    os.close(fd)
    return data <= 300000, end


# --- attributes

@case
def chmod_of_files_and_directories():
    write("a")
    os.mkdir("d")
    out = []
    for mode in (0, 0o7777, 0o4711, 0o644, 0o1755):
        os.chmod("a", mode)
        os.chmod("d", mode)
        out.append((shape("a")[0], shape("d")[0]))
    return out


@case
def times_keep_nanoseconds():
    write("a")
    os.mkdir("d")
    os.symlink("a", "l")
    out = []
    for name in ("a", "d", "l"):
        os.utime(name, ns=(10**9 + 1, 1234567890123456789), follow_symlinks=False)
        out.append(os.lstat(name).st_mtime_ns)
    os.utime("a", ns=(0, -5_000_000_001))
    return out, os.stat("a").st_mtime_ns


@case
def times_change_when_they_must():
    def moved(path, action):
        os.utime(path, ns=(0, 10**18), follow_symlinks=False)
        before = os.lstat(path)
        time.sleep(0.02)
        action()
        after = os.lstat(path)
        return after.st_mtime_ns != before.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns

    os.mkdir("d")
    write("d/a", b"x")
    return [moved("d", lambda: write("d/b")), moved("d", lambda: os.unlink("d/b")),
            moved("d", lambda: os.rename("d/a", "d/c")), moved("d", lambda: os.chmod("d", 0o700)),
            moved("d/c", lambda: os.chmod("d/c", 0o600)), moved("d/c", lambda: os.truncate("d/c", 5)),
            moved("d/c", lambda: os.link("d/c", "d/e")), moved("d/c", lambda: write("d/c", b"yy")),
            moved("d/c", lambda: os.rename("d/c", "d/f") or os.rename("d/f", "d/c")),
            moved("d", lambda: write("d/c", b"zz")), moved("d", lambda: os.listdir("d"))]


@case
def extended_attributes():
    write("a")
    os.mkdir("d")
    big = bytes(range(256)) * 7
    for name in ("a", "d"):
        os.setxattr(name, "user.one", b"1")
        os.setxattr(name, "user.big", big)
        os.setxattr(name, "user.empty", b"")
    out = [sorted(os.listxattr("a")), os.getxattr("a", "user.big") == big, os.getxattr("d", "user.empty"),
           attempt(os.setxattr, "a", "user.one", b"2", os.XATTR_CREATE),
           attempt(os.setxattr, "a", "user.two", b"2", os.XATTR_REPLACE), attempt(os.getxattr, "a", "user.two"),
           attempt(os.removexattr, "a", "user.two"), attempt(os.setxattr, "a", "nonsense", b"")]
    os.setxattr("a", "user.one", b"22", os.XATTR_REPLACE)
    os.removexattr("a", "user.big")
    return out + [os.getxattr("a", "user.one"), sorted(os.listxattr("a"))]


# What the next one says on tmpfs, for hosts without a file system that takes such values.
LARGE_ATTRIBUTES = [None, True] * 6 + ["E2BIG", 6, "EEXIST", "ENODATA"] + [True] * 5 + \
    ["ENODATA", 4096, "E2BIG", b"v"]


@case
def attributes_as_large_as_linux_takes_them():
    with roomy(lambda folder: os.setxattr(folder, "user.probe", bytes(65536))) as folder:
        if folder is None:
            return LARGE_ATTRIBUTES
        path = folder + "/a"
        write(path)
        out = []
        value = bytes(range(255)) * 257 + b"end"
        for size in (2047, 2048, 2049, 4096, 65535, 65536):
            out.append(attempt(os.setxattr, path, f"user.{size}", value[-size:]))
            out.append(os.getxattr(path, f"user.{size}") == value[-size:])
        out += [attempt(os.setxattr, path, "user.more", bytes(65537)), len(os.listxattr(path)),
                attempt(os.setxattr, path, "user.65536", bytes(4000), os.XATTR_CREATE),
                attempt(os.setxattr, path, "user.none", bytes(4000), os.XATTR_REPLACE)]
        for size in (3000, 10, 65536, 40000, 0):
            os.setxattr(path, "user.65535", b"x" * size, os.XATTR_REPLACE)
            out.append(os.getxattr(path, "user.65535") == b"x" * size)
        os.removexattr(path, "user.65536")
        out += [attempt(os.getxattr, path, "user.65536"), len(os.getxattr(path, "user.4096"))]
        for i in range(260):
            os.setxattr(path, f"user.{i:03}".ljust(255, "n"), b"v")
        out += [attempt(os.listxattr, path), os.getxattr(path, "user.259".ljust(255, "n"))]
        return out


@case
def attributes_follow_a_rename():
    write("a", b"x", 0o640)
    os.setxattr("a", "user.k", b"v")
    os.utime("a", ns=(0, 987654321987654321))
    os.rename("a", "b")
    return shape("b"), os.getxattr("b", "user.k"), os.stat("b").st_mtime_ns


@case
def locks_between_descriptors():
    write("a")
    one, two = os.open("a", os.O_RDWR), os.open("a", os.O_RDWR)
    fcntl.flock(one, fcntl.LOCK_EX)
    blocked = attempt(fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(one)
    free = attempt(fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(two)
    return blocked, free


# --- users and permissions, as root

@case
def users_see_what_permissions_allow():
    if not ROOT:
        return "needs root"
    write("secret", b"x", 0o600)
    write("public", b"x", 0o644)
    os.mkdir("closed", 0o700)
    write("closed/a")
    os.mkdir("listed", 0o744)
    write("listed/a")
    with As(1000, 1000):
        return [attempt(read, n) for n in ("secret", "public", "closed/a", "listed/a")] + \
               [attempt(os.listdir, n) for n in ("closed", "listed")] + \
               [attempt(os.open, n, os.O_WRONLY) for n in ("public",)] + \
               [attempt(os.open, "new", os.O_CREAT | os.O_RDWR), attempt(os.unlink, "public"),
                attempt(os.rename, "public", "p"), attempt(os.mkdir, "dd"), attempt(os.chmod, "public", 0o777),
                attempt(os.chown, "public", 1000, 1000), attempt(os.utime, "public", (1, 1)),
                attempt(os.link, "secret", "s"), attempt(os.truncate, "public", 0)]


@case
def sticky_directories_protect_files_of_others():
    if not ROOT:
        return "needs root"
    os.mkdir("d")
    os.chmod("d", 0o1777)
    write("d/root")
    with As(1000, 1000):
        write("d/mine")
        first = [attempt(os.unlink, "d/root"), attempt(os.rename, "d/root", "d/x")]
    with As(1001, 1001):
        second = [attempt(os.unlink, "d/mine"), attempt(os.rename, "d/mine", "d/y")]
    with As(1000, 1000):
        third = attempt(os.unlink, "d/mine")
    return first, second, third


@case
def owners_change_as_allowed():
    if not ROOT:
        return "needs root"
    write("a")
    os.chown("a", 1000, 1000)
    os.chmod("a", 0o6755)
    with As(1000, 1000, [1000, 2000]):
        group = attempt(os.chown, "a", -1, 2000)
        away = attempt(os.chown, "a", 1001, -1), attempt(os.chown, "a", -1, 3000)
    s = os.stat("a")
    return group, away, s.st_uid, s.st_gid, stat.filemode(s.st_mode)


@case
def writing_takes_the_set_id_bits():
    if not ROOT:
        return "needs root"
    write("a", b"x")
    os.chmod("a", 0o6777)
    with As(1000, 1000):
        fd = os.open("a", os.O_WRONLY)
        os.write(fd, b"y")
        os.close(fd)
    first = shape("a")
    os.chmod("a", 0o6777)
    with As(1000, 1000):
        os.truncate("a", 0)
    return first, shape("a")


@case
def groups_are_inherited_from_set_group_id_directories():
    if not ROOT:
        return "needs root"
    os.mkdir("d")
    os.chown("d", 1000, 2000)
    os.chmod("d", 0o2775)
    with As(1000, 1000):
        write("d/a")
        os.mkdir("d/e")
    write("d/b")
    os.symlink("a", "d/l")
    return [(n, os.lstat(n).st_uid, os.lstat(n).st_gid, shape(n)[0]) for n in ("d/a", "d/e", "d/b", "d/l")]


@case
def chmod_by_a_stranger_to_the_group_loses_set_group_id():
    if not ROOT:
        return "needs root"
    write("a")
    os.chown("a", 1000, 2000)
    with As(1000, 1000):
        os.chmod("a", 0o2755)
    return shape("a")[0]


def remove_all():
    for folder, directories, files in os.walk(".", topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in directories:
            path = os.path.join(folder, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)


def main():
    os.chdir(sys.argv[1])
    os.chmod(".", 0o755)
    failures = 0
    for function in CASES:
        name = function.__name__
        os.mkdir(name)
        os.chdir(name)
        try:
            print(f"{name}: {function()}")
        except Exception as problem:  # a case that does not record its error failed
            failures += 1
            print(f"{name}: FAILED {type(problem).__name__}: {problem}")
        remove_all()
        os.chdir("..")
        os.rmdir(name)
    print(f"{len(CASES)} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
