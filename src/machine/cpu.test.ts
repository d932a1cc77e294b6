import { describe, expect, test } from 'vitest'
import { PAGE_SIZE, PMD_SIZE, pmdIndex, pteIndex } from '../base/addr.ts'
import { PageTable } from '../mm/pgtable.ts'
import {
  PTE_DIRTY,
  PTE_HUGE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  PTE_YOUNG,
} from '../mm/pte.ts'
import { PAGE_FAULT, translate } from './cpu.ts'

const BASE = 0x1000_0000_0000

function tableWith(flags: number, pfn: number, addr = BASE): { table: PageTable; flagsAt: () => number } {
  const table = new PageTable()
  const { words } = table.allocPte(addr)
  words[2 * pteIndex(addr)] = pfn
  words[2 * pteIndex(addr) + 1] = flags
  return { table, flagsAt: () => words[2 * pteIndex(addr) + 1] }
}

describe('translate()', () => {
  test('a read gives the frame and marks the entry young', () => {
    const { table, flagsAt } = tableWith(PTE_PRESENT, 77)
    expect(translate(table, BASE + 4095, false)).toBe(77)
    expect(flagsAt()).toBe(PTE_PRESENT | PTE_YOUNG)
  })

  test('a write marks the entry young and dirty, and needs permission', () => {
    const writable = tableWith(PTE_PRESENT | PTE_WRITE, 77)
    expect(translate(writable.table, BASE, true)).toBe(77)
    expect(writable.flagsAt()).toBe(PTE_PRESENT | PTE_WRITE | PTE_YOUNG | PTE_DIRTY)
    const readOnly = tableWith(PTE_PRESENT, 77)
    expect(translate(readOnly.table, BASE, true)).toBe(PAGE_FAULT)
    expect(readOnly.flagsAt()).toBe(PTE_PRESENT)
  })

  test.each([
    ['an entry without access', PTE_PRESENT | PTE_PROTNONE],
    ['swap', PTE_KIND_SWAP],
    ['migration', PTE_KIND_MIGRATION | PTE_WRITE],
    ['device-private', PTE_KIND_DEVICE_PRIVATE | PTE_WRITE],
    ['empty', 0],
  ])('%s faults and stays as it is', (_, flags) => {
    const { table, flagsAt } = tableWith(flags, 3)
    expect(translate(table, BASE, false)).toBe(PAGE_FAULT)
    expect(translate(table, BASE, true)).toBe(PAGE_FAULT)
    expect(flagsAt()).toBe(flags)
  })

  test('a missing table at any level faults', () => {
    const table = new PageTable()
    expect(translate(table, BASE, false)).toBe(PAGE_FAULT)
    table.allocPmd(BASE)
    expect(translate(table, BASE, false)).toBe(PAGE_FAULT)
    table.allocPte(BASE)
    expect(translate(table, BASE + PMD_SIZE, false)).toBe(PAGE_FAULT)
  })

  test('a huge entry maps 512 frames', () => {
    const table = new PageTable()
    const pmd = table.allocPmd(BASE)
    pmd.setHuge(pmdIndex(BASE), PTE_PRESENT | PTE_HUGE | PTE_WRITE, 1024)
    expect(translate(table, BASE, false)).toBe(1024)
    expect(translate(table, BASE + 511 * PAGE_SIZE + 5, true)).toBe(1024 + 511)
    expect(pmd.hugeFlags(pmdIndex(BASE))).toBe(PTE_PRESENT | PTE_HUGE | PTE_WRITE | PTE_YOUNG | PTE_DIRTY)
    expect(translate(table, BASE + PMD_SIZE, false)).toBe(PAGE_FAULT)
  })

  test('a huge entry that is being migrated, or read-only for a write, faults', () => {
    const table = new PageTable()
    const pmd = table.allocPmd(BASE)
    pmd.setHuge(pmdIndex(BASE), PTE_KIND_MIGRATION | PTE_HUGE, 1024)
    expect(translate(table, BASE, false)).toBe(PAGE_FAULT)
    pmd.setHuge(pmdIndex(BASE), PTE_PRESENT | PTE_HUGE, 1024)
    expect(translate(table, BASE, true)).toBe(PAGE_FAULT)
  })
})
