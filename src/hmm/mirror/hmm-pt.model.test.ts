// Random programs on a mirror page table against a Map from page numbers to entries. Two iterators work at once, so that
// directories become empty, are made again and are reused while somebody stands in them.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PAGE_SIZE, PMD_SIZE, PUD_SIZE } from '../../base/addr.ts'
import { HmmPt } from './hmm-pt.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { hmmPtCount, hmmPtHasValid, hmmPtSetBits } from './hmm-pt-range.ts'
import {
  HMM_PTE_DIRTY,
  HMM_PTE_VALID_PFN,
  HMM_PTE_WRITE,
  hmmPteClearBit,
  hmmPteFromPfn,
  hmmPteIsValid,
  hmmPteRead,
  hmmPteStore,
} from './hmm-pte.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 300)

/** Page number to entry; only valid entries. */
type Model = Map<number, bigint>

interface Real {
  pt: HmmPt
  iters: HmmPtIter[]
}

type Command = fc.Command<Model, Real>

/** Pages around the borders of entries, directories and levels, in a space of `last`. */
function anyPage(npages: number): fc.Arbitrary<number> {
  const steps = [1, PMD_SIZE / PAGE_SIZE, PUD_SIZE / PAGE_SIZE, (512 * PUD_SIZE) / PAGE_SIZE]
  const border = fc
    .tuple(fc.constantFrom(...steps), fc.nat(3), fc.integer({ min: -2, max: 2 }))
    .map(([size, n, off]) => Math.min(npages - 1, Math.max(0, size * n + off)))
  return fc.oneof(border, fc.nat({ max: npages - 1 }), fc.constant(npages - 1))
}

const at = (page: number) => page * PAGE_SIZE
const hex = (page: number) => `0x${at(page).toString(16)}`

/** A step of a program; `text` is how it is printed when it fails. */
function command(text: string, run: (model: Model, real: Real) => void): Command {
  return { check: () => true, run, toString: () => text }
}

function enter(k: number, page: number, pfn: number, write: boolean): Command {
  return command(`iter${k}.enter(${hex(page)}, pfn ${pfn}${write ? ', write' : ''})`, (model, { iters }) => {
    const iter = iters[k]
    const i = iter.populate(at(page), at(page + 1))
    expect(hmmPteIsValid(iter.words, i)).toBe(model.has(page))
    if (!model.has(page)) iter.directoryRef()
    const flags = write ? HMM_PTE_WRITE : 0
    hmmPteStore(iter.words, i, pfn, HMM_PTE_VALID_PFN | flags)
    model.set(page, hmmPteFromPfn(pfn) | BigInt(flags))
  })
}

function drop(k: number, first: number, npages: number): Command {
  return command(`iter${k}.drop(${hex(first)}, ${npages} pages)`, (model, { iters }) => {
    const iter = iters[k]
    const end = at(first + npages)
    for (let i = iter.walk(at(first), end); i >= 0; i = iter.walk(iter.next, end)) {
      let ngone = 0
      iter.directoryLock()
      for (const stop = i + iter.npages; i < stop; i++) {
        if (!hmmPteIsValid(iter.words, i)) continue
        hmmPteStore(iter.words, i, 0, 0)
        ngone++
      }
      iter.directoryUnlock()
      iter.directoryUnref(ngone)
    }
    for (const page of pagesIn(model, first, npages)) model.delete(page)
  })
}

function protect(k: number, page: number): Command {
  return command(`iter${k}.protect(${hex(page)})`, (model, { iters }) => {
    const iter = iters[k]
    const i = iter.lookup(at(page), at(page + 1))
    if (i >= 0) hmmPteClearBit(iter.words, i, HMM_PTE_WRITE)
    const pte = model.get(page)
    if (pte !== undefined) model.set(page, pte & ~BigInt(HMM_PTE_WRITE))
  })
}

function setDirty(first: number, npages: number): Command {
  return command(`setDirty(${hex(first)}, ${npages} pages)`, (model, { pt }) => {
    const written = pagesIn(model, first, npages).filter((page) => (model.get(page)! & BigInt(HMM_PTE_WRITE)) !== 0n)
    for (const page of written) model.set(page, model.get(page)! | BigInt(HMM_PTE_DIRTY))
    const range = [at(first), at(first + npages)] as const
    expect(hmmPtSetBits(pt, ...range, HMM_PTE_DIRTY, HMM_PTE_WRITE)).toBe(written.length)
    expect(hmmPtCount(pt, ...range, HMM_PTE_DIRTY | HMM_PTE_WRITE)).toBe(written.length)
  })
}

function look(first: number, npages: number): Command {
  return command(`look(${hex(first)}, ${npages} pages)`, (model, { pt }) => {
    const pages = pagesIn(model, first, npages)
    expect(hmmPtCount(pt, at(first), at(first + npages))).toBe(pages.length)
    expect(hmmPtHasValid(pt, at(first), at(first + npages))).toBe(pages.length > 0)
    expect(pt.entry(at(first))).toBe(model.get(first) ?? 0n)
    expect(pt.nvalid).toBe(model.size)
  })
}

function fini(k: number): Command {
  return command(`iter${k}.fini()`, (_model, { iters }) => iters[k].fini())
}

function pagesIn(model: Model, first: number, npages: number): number[] {
  return [...model.keys()].filter((page) => page >= first && page < first + npages)
}

/** With no iterator open: the same entries in the same order, and exactly the directories that they need (MR-35). */
function expectSame(model: Model, { pt }: Real): void {
  pt.validate()
  const iter = new HmmPtIter(pt)
  const found: [number, bigint][] = []
  for (let i = iter.walk(0, pt.last + 1); i >= 0; i = iter.walk(iter.next, pt.last + 1)) {
    const { words, npages, addr } = iter
    for (let k = 0; k < npages; k++) {
      if (hmmPteIsValid(words, i + k)) found.push([addr / PAGE_SIZE + k, hmmPteRead(words, i + k)])
    }
  }
  iter.fini()
  expect(found).toEqual([...model].sort(([a], [b]) => a - b))
  const directories = new Set<string>()
  for (const page of model.keys()) {
    for (let level = 0; level < pt.llevel; level++)
      directories.add(`${level}:${Math.floor(at(page) / pt.coverage[level])}`)
  }
  expect(pt.ndirectories).toBe(directories.size)
}

describe.each([
  ['a process (2^47)', 2 ** 47 - 4096],
  ['1 GiB', PUD_SIZE],
  ['100 pages, one level', 100 * PAGE_SIZE],
  ['2^53, five levels', 2 ** 53],
])('a table of %s', (_name, size) => {
  it('is a map from pages to entries, with no directory too many (MR-34, MR-35, MR-40 to MR-44)', () => {
    const npages = size / PAGE_SIZE
    const page = anyPage(npages)
    const iter = fc.nat(1)
    const part = fc
      .tuple(page, fc.constantFrom(1, 2, 511, 513, 300_000))
      .map(([from, n]): [number, number] => [from, Math.min(n, npages - from)])
    const pfn = fc.nat(2 ** 30)
    const commands = [
      fc.tuple(iter, page, pfn, fc.boolean()).map((args) => enter(...args)),
      fc.tuple(iter, page, pfn, fc.boolean()).map((args) => enter(...args)),
      fc.tuple(iter, part).map(([k, args]) => drop(k, ...args)),
      fc.tuple(iter, page).map((args) => protect(...args)),
      part.map((args) => setDirty(...args)),
      part.map((args) => look(...args)),
      iter.map(fini),
    ]
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60, size: 'max' }), (program) => {
        const pt = new HmmPt(size - 1)
        const real = { pt, iters: [new HmmPtIter(pt), new HmmPtIter(pt)] }
        const model: Model = new Map()
        fc.modelRun(() => ({ model, real }), program)
        for (const open of real.iters) open.fini()
        expectSame(model, real)
      }),
      { numRuns: RUNS },
    )
  })
})
