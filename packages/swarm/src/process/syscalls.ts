/**
 * Numbers of system calls, as `/proc/<pid>/syscall` has them, for the calls in which a thread may stay. From the
 * kernel's own tables, `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h` (arm64).
 */

/** Their first argument is a descriptor. */
const ON_DESCRIPTOR: ReadonlySet<string> = new Set([
  'read',
  'write',
  'readv',
  'writev',
  'pread64',
  'pwrite64',
  'preadv',
  'pwritev',
  'ioctl',
  'fcntl',
  'flock',
  'fsync',
  'fdatasync',
  'ftruncate',
  'fstat',
  'getdents64',
  'connect',
  'accept',
  'accept4',
  'sendto',
  'recvfrom',
  'sendmsg',
  'recvmsg',
  'close',
]);
/** Their first argument points to a path. */
const ON_PATH: ReadonlySet<string> = new Set([
  'open',
  'stat',
  'lstat',
  'access',
  'rename',
  'mkdir',
  'rmdir',
  'creat',
  'unlink',
  'readlink',
]);
/** Their second one does. */
const ON_PATH_AT: ReadonlySet<string> = new Set([
  'openat',
  'newfstatat',
  'statx',
  'mkdirat',
  'unlinkat',
  'renameat',
  'renameat2',
  'readlinkat',
  'faccessat',
  'faccessat2',
]);

const X64 =
  'read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 mmap=9 munmap=11 brk=12 ioctl=16 pread64=17 ' +
  'pwrite64=18 readv=19 writev=20 access=21 select=23 sched_yield=24 madvise=28 nanosleep=35 sendfile=40 ' +
  'connect=42 accept=43 sendto=44 recvfrom=45 sendmsg=46 recvmsg=47 wait4=61 fcntl=72 flock=73 fsync=74 ' +
  'fdatasync=75 ftruncate=77 rename=82 mkdir=83 rmdir=84 creat=85 unlink=87 readlink=89 futex=202 getdents64=217 ' +
  'restart_syscall=219 clock_nanosleep=230 epoll_wait=232 waitid=247 openat=257 mkdirat=258 newfstatat=262 ' +
  'unlinkat=263 renameat=264 readlinkat=267 faccessat=269 pselect6=270 ppoll=271 splice=275 epoll_pwait=281 ' +
  'accept4=288 preadv=295 pwritev=296 renameat2=316 copy_file_range=326 statx=332 io_uring_enter=426 ' +
  'faccessat2=439 epoll_pwait2=441';
const ARM64 =
  'epoll_pwait=22 fcntl=25 ioctl=29 flock=32 mkdirat=34 unlinkat=35 renameat=38 ftruncate=46 faccessat=48 openat=56 ' +
  'close=57 getdents64=61 read=63 write=64 readv=65 writev=66 pread64=67 pwrite64=68 preadv=69 pwritev=70 ' +
  'sendfile=71 pselect6=72 ppoll=73 splice=76 readlinkat=78 newfstatat=79 fstat=80 fsync=82 fdatasync=83 waitid=95 ' +
  'futex=98 nanosleep=101 clock_nanosleep=115 sched_yield=124 restart_syscall=128 accept=202 connect=203 ' +
  'sendto=206 recvfrom=207 sendmsg=211 recvmsg=212 brk=214 munmap=215 mmap=222 madvise=233 accept4=242 ' +
  'wait4=260 renameat2=276 copy_file_range=285 statx=291 io_uring_enter=426 faccessat2=439 epoll_pwait2=441';

const TABLES: Readonly<Record<string, ReadonlyMap<number, string>>> = {
  x64: byNumber(X64),
  arm64: byNumber(ARM64),
};

export interface Syscall {
  name: string;
  /** What its argument says. */
  about: { descriptor: number } | { pathAt: number } | null;
}

/** `running`: in no call. null: not known. */
export type SyscallState = Syscall | 'running' | null;

/** Parses `/proc/<pid>/task/<tid>/syscall`. */
export function parseSyscall(text: string, arch: string): SyscallState {
  const [first = '', ...args] = text.trim().split(/\s+/);
  if (first === 'running') return 'running';
  const number = Number(first);
  if (!Number.isInteger(number) || args.length < 3) return null;
  // blocked outside of a call, e.g. by a page fault
  if (number < 0) return { name: 'none', about: null };
  const name = TABLES[arch]?.get(number) ?? `syscall ${number}`;
  return { name, about: aboutOf(name, args) };
}

function aboutOf(name: string, args: readonly string[]): Syscall['about'] {
  if (ON_DESCRIPTOR.has(name)) return { descriptor: Number(args[0]) };
  if (ON_PATH.has(name)) return { pathAt: Number(args[0]) };
  return ON_PATH_AT.has(name) ? { pathAt: Number(args[1]) } : null;
}

function byNumber(table: string): ReadonlyMap<number, string> {
  return new Map(
    table.split(' ').map((entry): [number, string] => {
      const [name = '', number] = entry.split('=');
      return [Number(number), name];
    }),
  );
}
