/**
 * Numbers and layouts of userfaultfd and of the PAGEMAP_SCAN ioctl.
 *
 * From linux/userfaultfd.h and linux/fs.h of Linux 6.18; what a running kernel lacks is missing in the feature bits that
 * UFFDIO_API returns. A layout gives the byte offset of each field, all of them 64 bits wide unless noted, and the size
 * of the whole. Modes and flags fit the low 32-bit word of their field, the high word is 0.
 */

// Making a descriptor.
export const SYS_USERFAULTFD_X86_64 = 323
export const SYS_USERFAULTFD_ARM64 = 282
export const UFFD_USER_MODE_ONLY = 1 // flag of the system call, beside O_CLOEXEC and O_NONBLOCK
export const USERFAULTFD_IOC_NEW = 0xaa00 // ioctl on /dev/userfaultfd, takes the flags, returns the descriptor
export const UFFD_API = 0xaa

// ioctls of the descriptor.
export const UFFDIO_API = 0xc018_aa3f
export const UFFDIO_REGISTER = 0xc020_aa00
export const UFFDIO_UNREGISTER = 0x8010_aa01
export const UFFDIO_WAKE = 0x8010_aa02
export const UFFDIO_COPY = 0xc028_aa03
export const UFFDIO_ZEROPAGE = 0xc020_aa04
export const UFFDIO_MOVE = 0xc028_aa05
export const UFFDIO_WRITEPROTECT = 0xc018_aa06
export const UFFDIO_CONTINUE = 0xc020_aa07
export const UFFDIO_POISON = 0xc020_aa08

// Arguments of the ioctls. What the kernel writes comes last: bytes done, or a negative errno.
export const UFFDIO_API_LAYOUT = { api: 0, features: 8, ioctls: 16, size: 24 } as const
export const UFFDIO_RANGE_LAYOUT = { start: 0, len: 8, size: 16 } as const // UNREGISTER and WAKE
export const UFFDIO_REGISTER_LAYOUT = { start: 0, len: 8, mode: 16, ioctls: 24, size: 32 } as const
export const UFFDIO_COPY_LAYOUT = { dst: 0, src: 8, len: 16, mode: 24, copy: 32, size: 40 } as const
export const UFFDIO_ZEROPAGE_LAYOUT = { start: 0, len: 8, mode: 16, zeropage: 24, size: 32 } as const
export const UFFDIO_MOVE_LAYOUT = { dst: 0, src: 8, len: 16, mode: 24, move: 32, size: 40 } as const
export const UFFDIO_WRITEPROTECT_LAYOUT = { start: 0, len: 8, mode: 16, size: 24 } as const
export const UFFDIO_CONTINUE_LAYOUT = { start: 0, len: 8, mode: 16, mapped: 24, size: 32 } as const
export const UFFDIO_POISON_LAYOUT = { start: 0, len: 8, mode: 16, updated: 24, size: 32 } as const

// What a registered range reports.
export const UFFDIO_REGISTER_MODE_MISSING = 1
export const UFFDIO_REGISTER_MODE_WP = 2
export const UFFDIO_REGISTER_MODE_MINOR = 4

// Modes of the resolving ioctls. DONTWAKE leaves the faulting threads asleep until UFFDIO_WAKE.
export const UFFDIO_COPY_MODE_DONTWAKE = 1
export const UFFDIO_COPY_MODE_WP = 2
export const UFFDIO_ZEROPAGE_MODE_DONTWAKE = 1
export const UFFDIO_MOVE_MODE_DONTWAKE = 1
export const UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES = 2
export const UFFDIO_WRITEPROTECT_MODE_WP = 1 // without it the protection is removed
export const UFFDIO_WRITEPROTECT_MODE_DONTWAKE = 2
export const UFFDIO_CONTINUE_MODE_DONTWAKE = 1
export const UFFDIO_CONTINUE_MODE_WP = 2
export const UFFDIO_POISON_MODE_DONTWAKE = 1

// Features: what UFFDIO_API returns and may be asked for.
export const UFFD_FEATURE_PAGEFAULT_FLAG_WP = 1 << 0
export const UFFD_FEATURE_EVENT_FORK = 1 << 1
export const UFFD_FEATURE_EVENT_REMAP = 1 << 2
export const UFFD_FEATURE_EVENT_REMOVE = 1 << 3
export const UFFD_FEATURE_MISSING_HUGETLBFS = 1 << 4
export const UFFD_FEATURE_MISSING_SHMEM = 1 << 5
export const UFFD_FEATURE_EVENT_UNMAP = 1 << 6
export const UFFD_FEATURE_SIGBUS = 1 << 7
export const UFFD_FEATURE_THREAD_ID = 1 << 8
export const UFFD_FEATURE_MINOR_HUGETLBFS = 1 << 9
export const UFFD_FEATURE_MINOR_SHMEM = 1 << 10
export const UFFD_FEATURE_EXACT_ADDRESS = 1 << 11
export const UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12
export const UFFD_FEATURE_WP_UNPOPULATED = 1 << 13
export const UFFD_FEATURE_POISON = 1 << 14
export const UFFD_FEATURE_WP_ASYNC = 1 << 15
export const UFFD_FEATURE_MOVE = 1 << 16

// Messages, as read from the descriptor. `event` is one byte, `threadId` four and only set with the feature THREAD_ID.
//
//   0         1          8        16         24          28        32
//   | event   | reserved | flags  | address  | threadId  | unused  |
export const UFFD_MSG_LAYOUT = { event: 0, flags: 8, address: 16, threadId: 24, size: 32 } as const
export const UFFD_EVENT_PAGEFAULT = 0x12
export const UFFD_EVENT_FORK = 0x13
export const UFFD_EVENT_REMAP = 0x14
export const UFFD_EVENT_REMOVE = 0x15
export const UFFD_EVENT_UNMAP = 0x16

// Flags of a page fault message. Neither WP nor MINOR: the page is missing.
export const UFFD_PAGEFAULT_FLAG_WRITE = 1
export const UFFD_PAGEFAULT_FLAG_WP = 2
export const UFFD_PAGEFAULT_FLAG_MINOR = 4

// PAGEMAP_SCAN, an ioctl on /proc/self/pagemap. Returns the number of regions that it wrote to `vec`.
export const PAGEMAP_SCAN = 0xc060_6610
export const PM_SCAN_ARG_LAYOUT = {
  structSize: 0, // holds `size`
  flags: 8,
  start: 16,
  end: 24,
  walkEnd: 32, // written: where the scan stopped
  vec: 40,
  vecLen: 48,
  maxPages: 56,
  categoryInverted: 64,
  categoryMask: 72,
  categoryAnyofMask: 80,
  returnMask: 88,
  size: 96,
} as const
export const PAGE_REGION_LAYOUT = { start: 0, end: 8, categories: 16, size: 24 } as const
export const PM_SCAN_WP_MATCHING = 1 // write-protect what matches, in the same step
export const PM_SCAN_CHECK_WPASYNC = 2 // -EPERM unless the whole range is tracked

// Categories of a page.
export const PAGE_IS_WPALLOWED = 1
export const PAGE_IS_WRITTEN = 2
export const PAGE_IS_FILE = 4
export const PAGE_IS_PRESENT = 8
export const PAGE_IS_SWAPPED = 16
export const PAGE_IS_PFNZERO = 32
export const PAGE_IS_HUGE = 64
export const PAGE_IS_SOFT_DIRTY = 128
