// A driver written with nothing but the entry point.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  EAGAIN,
  EBUSY,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange61,
  hmm2015,
  hmmPfnAt,
  hmmPfnToPfn,
  hmmPfnWritable,
  hmmRangeFault,
  hmmV51,
  Machine,
  type Mm,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  PAGE_SIZE,
  type Pfn,
  PROT_READ,
  validateSystem,
} from './hmm-entry.ts'

/** Mirrors an address space by the loop of MN-45; its table is a map from address to frame. */
class Driver {
  readonly table = new Map<number, { pfn: Pfn; writable: boolean }>()
  rounds = 0
  private readonly mm: Mm
  private readonly sub: MmuIntervalNotifier

  constructor(mm: Mm) {
    this.mm = mm
    const sub = mmuIntervalNotifierInsert(mm, 0, 2 ** 47, {
      invalidate: (self: MmuIntervalNotifier, range: MmuNotifierRange, curSeq: number) => {
        mmuIntervalSetSeq(self, curSeq)
        for (const addr of this.table.keys()) if (addr >= range.start && addr < range.end) this.table.delete(addr)
        return true
      },
    })
    if (typeof sub === 'number') throw new Error(`insert returned ${sub}`)
    this.sub = sub
  }

  fault(start: number, npages: number, request: bigint): number {
    for (;;) {
      this.rounds++
      const range: HmmRange61 = {
        notifier: this.sub,
        notifierSeq: mmuIntervalReadBegin(this.sub),
        start,
        end: start + npages * PAGE_SIZE,
        hmmPfns: new BigUint64Array(npages),
        defaultFlags: request,
        pfnFlagsMask: 0n,
        devPrivateOwner: null,
      }
      if (range.notifierSeq === -EAGAIN || !this.mm.mmapLock.tryRead()) return -EAGAIN
      const result = hmmRangeFault(range)
      this.mm.mmapLock.unlockRead()
      if (result === -EBUSY) continue
      if (result !== 0) return result
      if (mmuIntervalReadRetry(this.sub, range.notifierSeq)) continue
      for (let i = 0; i < npages; i++) {
        const entry = hmmPfnAt(range.hmmPfns, i)
        this.table.set(start + i * PAGE_SIZE, { pfn: hmmPfnToPfn(entry), writable: hmmPfnWritable(entry) })
      }
      return 0
    }
  }
}

describe('hetmem/hmm', () => {
  it('is enough to write a driver that mirrors a process', () => {
    const machine = new Machine({ memory: '1 MiB' })
    const process = machine.createProcess()
    const driver = new Driver(process.mm)
    const addr = process.mmap({ length: 4 * PAGE_SIZE })
    process.load32(addr)
    expect(driver.fault(addr, 4, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)).toBe(0)
    expect(driver.rounds).toBe(2) // the zero page of the first round was replaced

    const entry = driver.table.get(addr)
    expect(entry?.writable).toBe(true)
    machine.mmu.bytes(entry?.pfn ?? -1)[0] = 42
    expect(process.load32(addr)).toBe(42)
    const translations = [...driver.table].map(([at, { pfn, writable }]) => ({
      mm: process.mm,
      addr: at,
      pfn,
      writable,
    }))
    validateSystem(machine.sys, { level: 'full', translations })

    process.mprotect(addr + PAGE_SIZE, PAGE_SIZE, PROT_READ)
    expect([...driver.table.keys()]).toEqual([addr, addr + 2 * PAGE_SIZE, addr + 3 * PAGE_SIZE])
    process.exit()
    expect(driver.table.size).toBe(0)
  })

  it('is what the package exports under that name', () => {
    const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
    expect(exports['./hmm']).toEqual({ types: './lib/hmm.d.ts', default: './lib/hmm.js' })
  })

  it('has the older designs under names of their own', () => {
    expect(typeof hmmV51.hmmVmaFault).toBe('function')
    expect(typeof hmm2015.hmmMirrorFault).toBe('function')
    expect(hmmV51.hmmMirrorRegister).not.toBe(hmm2015.hmmMirrorRegister)
  })
})
