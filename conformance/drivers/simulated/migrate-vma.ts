// The operation `migrate-vma`: the three steps of a migration with everything chosen by the recording, and their entries
// as text. The choices that remain are those that every driver makes alike: what to copy, and what to enter in its table.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn } from '../../../src/base/addr.ts'
import { assert } from '../../../src/base/assert.ts'
import { ENOMEM, errnoName } from '../../../src/base/errno.ts'
import { DmirrorDevice, type DmirrorHandle, TAG_READ, TAG_WRITE } from '../../../src/devices/dmirror/index.ts'
import { isZoneDevicePage, pagemapOf } from '../../../src/mm/memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfn,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../../src/mm/migrate-device.ts'
import { allocPage } from '../../../src/mm/page-alloc.ts'
import type { System } from '../../../src/mm/system.ts'
import { VM_WRITE } from '../../../src/mm/vm-flags.ts'
import type { Vma } from '../../../src/mm/vma.ts'
import type { OperationOf, OperationResult, Selection } from '../../trace.ts'

const SELECT_FLAGS: Readonly<Record<Selection, number>> = {
  system: MIGRATE_VMA_SELECT_SYSTEM,
  'device-private': MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  'device-coherent': MIGRATE_VMA_SELECT_DEVICE_COHERENT,
}

export interface MigrateVmaTarget {
  /** Device of `op.dev`. */
  readonly device: DmirrorDevice
  /** The process's handle on it, whose mirror table follows the migration. */
  readonly handle: DmirrorHandle
  /** Address of arena page 0. */
  readonly arena: Addr
  /** What `op.owner` names. */
  readonly owner: unknown
}

/** Executes the operation. */
export function executeMigrateVma(op: OperationOf<'migrate-vma'>, target: MigrateVmaTarget): OperationResult {
  const { mm } = target.handle
  assert(mm.mmapLock.tryRead(), 'the mmapLock is free: nothing runs beside a replay')
  try {
    const start = target.arena + op.page * PAGE_SIZE
    const selection = op.select.reduce((flags, name) => flags | SELECT_FLAGS[name], 0)
    const args = makeMigrateVma(mm.vmaLookup(start), start, start + op.n * PAGE_SIZE, target.owner, selection)
    const ret = migrateVmaSetup(args)
    if (ret !== 0) return { errno: errnoName(ret) }
    const { cpages } = args
    const setup = formatEntries(args.src)
    giveDestinations(op, target, args)
    migrateVmaPages(args)
    const pages = formatEntries(args.src)
    updateMirror(op, target.handle, args)
    migrateVmaFinalize(args)
    return { cpages, setup, pages }
  } finally {
    mm.mmapLock.unlockRead()
  }
}

/** Provides a destination for each entry that may move and that `op.give` names. */
function giveDestinations(op: OperationOf<'migrate-vma'>, target: MigrateVmaTarget, args: MigrateVma): void {
  const { src, dst } = args
  const vma = args.vma as Vma
  const { sys } = vma.mm
  const { memory } = target.device
  const toDevice = op.to === 'device'
  for (let i = 0; i < op.n; i++) {
    if (op.give[i] !== '1' || !has(src[i], MIGRATE_PFN_MIGRATE)) continue
    const from = migratePfnToPfn(src[i])
    if (toDevice && from >= 0 && isZoneDevicePage(sys, from)) continue
    const to = toDevice ? memory.allocPage() : allocPage(vma.mm, args.start + i * PAGE_SIZE)
    assert(to >= 0, () => `no room for a destination: ${errnoName(-ENOMEM)}`)
    if (toDevice) sys.pages.zoneDeviceData.set(to, target.handle.mirror)
    else sys.pages.trylock(to)
    const data = toDevice ? memory.dataPage(to) : to
    if (from >= 0) sys.mmu.copyFrame(data, dataPageOf(sys, from))
    else sys.mmu.clearFrame(data)
    const isWritable = from >= 0 ? has(src[i], MIGRATE_PFN_WRITE) : (vma.flags & VM_WRITE) !== 0
    dst[i] = migratePfn(to, isWritable ? MIGRATE_PFN_WRITE : 0)
  }
}

/** Between pages and finalize, while the pages are locked: the handle learns what is in its memory now, and what is not. */
function updateMirror(op: OperationOf<'migrate-vma'>, handle: DmirrorHandle, args: MigrateVma): void {
  const vpn = addrToVpn(args.start)
  for (let i = 0; i < op.n; i++) {
    if (op.to === 'system') {
      handle.table.erase(vpn + i)
      continue
    }
    const to = migratePfnToPfn(args.dst[i])
    if (to < 0 || !has(args.src[i], MIGRATE_PFN_MIGRATE)) continue
    const tag = has(args.dst[i], MIGRATE_PFN_WRITE) ? TAG_WRITE : TAG_READ
    handle.table.store(vpn + i, dataPageOf(handle.mm.sys, to), tag)
  }
}

/** The frame with the bytes of a page: for device memory the device knows which. */
function dataPageOf(sys: System, pfn: Pfn): Pfn {
  const owner = pagemapOf(sys, pfn)?.owner
  return owner instanceof DmirrorDevice ? owner.memory.dataPage(pfn) : pfn
}

/** `V` valid, `M` migrate, `W` write; `0` for none of them. */
export function formatEntries(src: BigUint64Array): string[] {
  return Array.from(src, (entry) => {
    const letter = (bit: number, name: string) => (has(entry, bit) ? name : '')
    return letter(MIGRATE_PFN_VALID, 'V') + letter(MIGRATE_PFN_MIGRATE, 'M') + letter(MIGRATE_PFN_WRITE, 'W') || '0'
  })
}

function has(entry: bigint, bit: number): boolean {
  return (entry & BigInt(bit)) !== 0n
}
