// Flags of a mapping, with the values of include/linux/mm.h of Linux 6.1.

export const VM_READ = 0x1
export const VM_WRITE = 0x2
export const VM_EXEC = 0x4
export const VM_SHARED = 0x8
export const VM_MAYREAD = 0x10
export const VM_MAYWRITE = 0x20
export const VM_MAYEXEC = 0x40
export const VM_MAYSHARE = 0x80
/** Raw frame numbers without page structures. */
export const VM_PFNMAP = 0x400
export const VM_LOCKED = 0x2000
/** Memory-mapped I/O or the like. */
export const VM_IO = 0x4000
export const VM_SEQ_READ = 0x8000
export const VM_RAND_READ = 0x10000
export const VM_DONTCOPY = 0x20000
export const VM_DONTEXPAND = 0x40000
/** Counted against the commit limit; decides, among others, whether two mappings may merge. */
export const VM_ACCOUNT = 0x100000
/** Not counted against the commit limit (MAP_NORESERVE); hugetlb: nothing is promised to the mapping. */
export const VM_NORESERVE = 0x200000
export const VM_HUGETLB = 0x400000
export const VM_DONTDUMP = 0x4000000
/** All of it counts as written since soft-dirty bits were last cleared: it is newer, or has grown. */
export const VM_SOFTDIRTY = 0x8000000
/** May mix ordinary pages and raw frame numbers. */
export const VM_MIXEDMAP = 0x10000000
export const VM_HUGEPAGE = 0x20000000
export const VM_NOHUGEPAGE = 0x40000000

export const VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC
/** Neither merged nor migrated (T-2). */
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP

/** May hold private copies of what it maps (T-4). */
export function isCowMapping(flags: number): boolean {
  return (flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE
}
