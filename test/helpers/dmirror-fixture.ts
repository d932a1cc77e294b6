// A machine with the four devices of the kernel's HMM test driver, as the kernel's own test program finds it: 0 and 1 have
// private memory, 2 and 3 coherent memory. After every step that goes through the fixture all invariants of the machine are
// checked, with exact reference counts and with every entry of every mirror table held against the page table; and at the
// end everything that was taken must have been given back.

import { expect } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, vpnToAddr } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { errnoName } from '../../src/base/errno.ts'
import { DmirrorDevice, type DmirrorHandle, type DmirrorResult, TAG_READ } from '../../src/devices/dmirror/index.ts'
import { Machine, type MachineOptions } from '../../src/machine/machine.ts'
import type { MmapOptions, Process } from '../../src/machine/process.ts'
import { AddressSpace } from '../../src/mm/address-space.ts'
import type { ShmemFile } from '../../src/mm/shmem.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import type { DeviceTranslation } from '../../src/mm/validate-devices.ts'

export interface DmirrorFixtureOptions extends MachineOptions {
  /** Pages per chunk of device memory. Default 2048: more than a buffer of the kernel's tests has. */
  readonly chunkPages?: number
  /** Clock of the devices in milliseconds. */
  readonly now?: () => number
}

/** A command failed that the scenario needs. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly command: string
  readonly errno: number

  constructor(command: string, errno: number) {
    super(`${command}: ${errnoName(errno)}`)
    this.command = command
    this.errno = errno
  }
}

export class DmirrorFixture {
  readonly machine: Machine
  /** The first process; forks come from `fork`. */
  readonly process: Process
  readonly devices: readonly DmirrorDevice[]
  /**
   * True while the test itself holds references or has a migration open. Then reference counts only have to be large
   * enough, and mirror tables may be behind.
   */
  midway = false
  private readonly handles = new Set<DmirrorHandle>()
  private readonly nfreeAtStart: number

  constructor(options: DmirrorFixtureOptions = {}) {
    const { chunkPages = 2048, now } = options
    this.machine = new Machine(options)
    const deviceOptions = now === undefined ? { chunkPages } : { chunkPages, now }
    this.devices = [0, 1, 2, 3].map((number) => new DmirrorDevice(this.machine.sys, number, deviceOptions))
    this.nfreeAtStart = this.machine.mmu.nfree
    this.process = this.machine.createProcess('test')
  }

  /** Does something and checks every invariant of the machine afterwards. */
  step<T>(operation: () => T): T {
    const result = operation()
    const backing = this.backingPages()
    validateSystem(this.machine.sys, {
      level: 'full',
      ...(this.midway
        ? {}
        : {
            translations: this.translations(backing),
            heldReferences: (pfn) => (backing.has(pfn) ? 1 : 0),
          }),
    })
    return result
  }

  /** The system pages that the devices hide behind their private pages in use: data page -> device page. */
  private backingPages(): Map<Pfn, Pfn> {
    const { pages } = this.machine.sys
    const backing = new Map<Pfn, Pfn>()
    for (const { kind, memory } of this.devices) {
      if (kind !== 'private') continue
      for (const chunk of memory.chunks) {
        for (let pfn = chunk.lowestUsed; pfn < chunk.end; pfn++) {
          if (pages.refcount[pfn] > 0) backing.set(memory.dataPage(pfn), pfn)
        }
      }
    }
    return backing
  }

  /** What the mirror tables say, by the frame that the page table names. */
  private translations(backing: ReadonlyMap<Pfn, Pfn>): DeviceTranslation[] {
    const translations: DeviceTranslation[] = []
    for (const { mm, table } of this.handles) {
      table.forEach((vpn, pfn, tag) => {
        translations.push({ mm, addr: vpnToAddr(vpn), pfn: backing.get(pfn) ?? pfn, writable: tag !== TAG_READ })
      })
    }
    return translations
  }

  // ---- devices ----

  open(number: number, process = this.process): DmirrorHandle {
    const handle = this.devices[number].open(process.mm)
    assert(typeof handle !== 'number', () => `open of device ${number} returned ${handle}`)
    this.handles.add(handle)
    return handle
  }

  close(handle: DmirrorHandle): void {
    this.handles.delete(handle)
    expect(this.step(() => handle.close())).toBe(0)
  }

  /** READ into a fresh buffer. Throws CommandFailed, as all commands that a scenario needs. */
  read(handle: DmirrorHandle, addr: Addr, npages: number): CommandResult {
    const buffer = new Uint8Array(npages * PAGE_SIZE)
    return { ...this.need('READ', () => handle.read(addr, npages, buffer)), buffer }
  }

  write(handle: DmirrorHandle, addr: Addr, npages: number, buffer: Uint8Array): DmirrorResult {
    return this.need('WRITE', () => handle.write(addr, npages, buffer))
  }

  migrateToDev(handle: DmirrorHandle, addr: Addr, npages: number): CommandResult {
    const buffer = new Uint8Array(npages * PAGE_SIZE)
    return { ...this.need('MIGRATE_TO_DEV', () => handle.migrateToDev(addr, npages, buffer)), buffer }
  }

  migrateToSys(handle: DmirrorHandle, addr: Addr, npages: number): DmirrorResult {
    return this.need('MIGRATE_TO_SYS', () => handle.migrateToSys(addr, npages))
  }

  exclusive(handle: DmirrorHandle, addr: Addr, npages: number): CommandResult {
    const buffer = new Uint8Array(npages * PAGE_SIZE)
    return { ...this.need('EXCLUSIVE', () => handle.exclusive(addr, npages, buffer)), buffer }
  }

  checkExclusive(handle: DmirrorHandle, addr: Addr, npages: number): DmirrorResult {
    return this.need('CHECK_EXCLUSIVE', () => handle.checkExclusive(addr, npages))
  }

  release(handle: DmirrorHandle, addr: Addr, npages: number): DmirrorResult {
    return this.need('RELEASE', () => handle.release(addr, npages))
  }

  /** SNAPSHOT as hex bytes: `ff 11 02`. */
  snapshot(handle: DmirrorHandle, addr: Addr, npages: number): string {
    const perms = new Uint8Array(npages)
    const { cpages } = this.need('SNAPSHOT', () => handle.snapshot(addr, npages, perms))
    expect(cpages).toBe(npages)
    return Array.from(perms, (perm) => perm.toString(16).padStart(2, '0')).join(' ')
  }

  /** A command that is expected to fail: its errno by name. */
  errnoOf(command: () => DmirrorResult): string {
    const result = this.step(command)
    expect(result).toEqual({ ret: result.ret, cpages: 0, faults: 0 })
    return result.ret === 0 ? 'ok' : errnoName(result.ret)
  }

  // ---- processes and files ----

  mmap(options: Omit<MmapOptions, 'length'> & { readonly npages: number }, process = this.process): Addr {
    const { npages, ...rest } = options
    return this.step(() => process.mmap({ ...rest, length: npages * PAGE_SIZE }))
  }

  munmap(addr: Addr, npages: number, process = this.process): void {
    this.step(() => process.munmap(addr, npages * PAGE_SIZE))
  }

  mprotect(addr: Addr, npages: number, prot: number, process = this.process): void {
    this.step(() => process.mprotect(addr, npages * PAGE_SIZE, prot))
  }

  fork(process = this.process): Process {
    return this.step(() => process.fork())
  }

  /** The CPU stores words from `addr` on. */
  store(addr: Addr, words: Uint32Array, process = this.process): void {
    this.step(() => process.writeBytes(addr, bytesOf(words)))
  }

  /** The CPU loads words from `addr` on. */
  load(addr: Addr, nwords: number, process = this.process): Uint32Array {
    return wordsOf(this.step(() => process.readBytes(addr, 4 * nwords)))
  }

  /** Page-table entries as letters, see mm/dump.ts; `D` and `d` are pages of device 0, and so on with E, G, K. */
  pte(addr: Addr, npages: number, process = this.process): string {
    return process.dumpPte(addr, npages, (owner) => (owner instanceof DmirrorDevice ? owner.number : undefined))
  }

  createFile(npages: number): ShmemFile {
    return this.machine.createFile(`a file of ${npages} pages`, npages)
  }

  /** The words of a whole file, as read(2) gives them. */
  fileWords(file: ShmemFile): Uint32Array {
    const words = new Uint32Array((file.mapping.npages * PAGE_SIZE) / 4)
    for (let i = 0; i < file.mapping.npages; i++) {
      words.set(wordsOf(this.machine.mmu.bytes(file.getPage(i))), (i * PAGE_SIZE) / 4)
    }
    return words
  }

  /** Ends a process as the kernel does: its address space goes first, then the handles that it opened are closed. */
  exit(process: Process): void {
    this.step(() => process.exit())
    for (const handle of [...this.handles]) if (handle.mm === process.mm) this.close(handle)
  }

  /** Closes what is open, ends what runs, and expects that nothing is left but page caches: no device page, no frame. */
  finish(): void {
    for (const handle of [...this.handles]) this.close(handle)
    for (const process of this.machine.processes) this.step(() => process.exit())
    expect(this.devices.map((device) => device.npagesUsed)).toEqual([0, 0, 0, 0])
    const { sys, mmu } = this.machine
    let nkept = sys.hugeZeroPfn >= 0 ? 512 : 0 // made once, stays with the machine
    for (const mapping of sys.mappings.values()) if (mapping instanceof AddressSpace) nkept += mapping.pages.size
    expect(mmu.nfree + nkept).toBe(this.nfreeAtStart)
  }

  private need(command: string, run: () => DmirrorResult): DmirrorResult {
    const result = this.step(run)
    if (result.ret !== 0) throw new CommandFailed(command, result.ret)
    return result
  }
}

/** What a command answered and copied. */
export interface CommandResult extends DmirrorResult {
  readonly buffer: Uint8Array
}

export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

/** The same bytes as 32-bit words; copied, because a frame may begin anywhere. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.slice().buffer)
}

/** Word i of `npages` pages is `from(i)`; by default its index. */
export function pattern(npages: number, from: (index: number) => number = (index) => index): Uint32Array {
  const words = new Uint32Array((npages * PAGE_SIZE) / 4)
  for (let i = 0; i < words.length; i++) words[i] = from(i)
  return words
}

/** toEqual for millions of words: says where the first difference is. */
export function expectWords(actual: Uint8Array | Uint32Array, expected: Uint32Array): void {
  const words = actual instanceof Uint32Array ? actual : wordsOf(actual)
  expect(words.length).toBe(expected.length)
  let at = 0
  while (at < words.length && words[at] === expected[at]) at++
  if (at < words.length) expect(`word ${at} is ${words[at]}`).toBe(`word ${at} is ${expected[at]}`)
}
