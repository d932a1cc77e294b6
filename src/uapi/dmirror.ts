/**
 * Numbers of the hmm_dmirror test driver: its commands and the bytes of a snapshot.
 *
 * From lib/test_hmm_uapi.h of Linux 6.1. The argument of every command is five 64-bit fields: addr, ptr and npages go
 * in, cpages and faults come out.
 */

// Commands: the number inside the ioctl, whose magic is 'H'.
export const HMM_DMIRROR_READ = 0
export const HMM_DMIRROR_WRITE = 1
export const HMM_DMIRROR_MIGRATE_TO_DEV = 2
export const HMM_DMIRROR_MIGRATE_TO_SYS = 3
export const HMM_DMIRROR_SNAPSHOT = 4
export const HMM_DMIRROR_EXCLUSIVE = 5
export const HMM_DMIRROR_CHECK_EXCLUSIVE = 6
export const HMM_DMIRROR_RELEASE = 7

// Snapshot, one byte per page. ERROR and NONE stand alone; any other byte is one of where the page is (none of them for
// ordinary memory), plus READ or WRITE, plus PMD or PUD if it is mapped by a larger entry.
//
//   7        4   3     2     1       0
//   where        PUD   PMD   WRITE   READ
export const HMM_DMIRROR_PROT_ERROR = 0xff
export const HMM_DMIRROR_PROT_NONE = 0x00
export const HMM_DMIRROR_PROT_READ = 0x01
export const HMM_DMIRROR_PROT_WRITE = 0x02
export const HMM_DMIRROR_PROT_PMD = 0x04
export const HMM_DMIRROR_PROT_PUD = 0x08
export const HMM_DMIRROR_PROT_ZERO = 0x10
export const HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL = 0x20
export const HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE = 0x30
export const HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL = 0x40
export const HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE = 0x50
