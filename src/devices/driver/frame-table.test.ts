import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameTable } from './frame-table.ts'

describe('FrameTable', () => {
  it('is empty at first, and tells frame 0 from no entry', () => {
    const table = new FrameTable()
    expect([table.find(0), table.find(2 ** 35), table.size]).toEqual([-1, -1, 0])
    table.add(7, 0, 1)
    expect([table.find(7), table.find(6), table.find(8), table.size]).toEqual([0, -1, -1, 1])
  })

  it('take() over the whole address space costs no more than what is in the table', () => {
    const table = new FrameTable()
    table.add(2 ** 35, 5, 1)
    const taken: number[][] = []
    table.take(0, 2 ** 52, (...run) => taken.push(run))
    expect([taken, table.size, [...table]]).toEqual([[[2 ** 35, 5, 1]], 0, []])
  })

  it('take() visits neighbours in neighbouring frames together', () => {
    const table = new FrameTable()
    table.add(10, 0, 4)
    table.add(14, 8, 2)
    const taken: number[][] = []
    table.take(11, 16, (...run) => taken.push(run))
    expect([taken, [...table]]).toEqual([
      [
        [11, 1, 3],
        [14, 8, 2],
      ],
      [[10, 0]],
    ])
  })

  it('begins anew where everything was taken', () => {
    const table = new FrameTable()
    table.add(7, 0, 1)
    table.take(7, 8, () => {})
    table.add(8, 3, 1)
    expect([table.find(600), table.find(7), table.find(8), [...table]]).toEqual([-1, -1, 3, [[8, 3]]])
  })

  it('knows what frames have in common until that is no more so', () => {
    const table = new FrameTable()
    table.add(10, 110, 2)
    expect([table.originAround(10), table.originAround(600)]).toEqual([100, Number.NaN])
    table.replace(11, 7)
    expect(table.originAround(10)).toBe(Number.NaN)
    table.replace(11, 111)
    expect(table.originAround(10)).toBe(100)
    table.add(12, 8, 1)
    expect(table.originAround(10)).toBe(Number.NaN)
    table.take(12, 13, () => {})
    table.take(10, 12, () => {})
    table.add(10, 8, 1)
    expect([table.originAround(10), table.find(10)]).toEqual([-2, 8])
  })

  it('does what a plain map does, for any sequence of operations', () => {
    const vpn = fc.oneof(
      fc.nat(1600),
      fc.nat(1600).map((n) => 2 ** 35 - 800 + n),
    )
    const operation = fc.oneof(
      fc.record({ op: fc.constant('add' as const), vpn, frame: fc.nat(99), npages: fc.integer({ min: 1, max: 900 }) }),
      fc.record({ op: fc.constant('take' as const), vpn, npages: fc.nat(1200) }),
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const table = new FrameTable()
        const model = new Map<number, number>()
        for (const each of operations) {
          if (each.op === 'add') {
            const run = Array.from({ length: each.npages }, (_, i) => i)
            if (run.some((i) => model.has(each.vpn + i))) continue
            table.add(each.vpn, each.frame, each.npages)
            for (const i of run) model.set(each.vpn + i, each.frame + i)
          } else {
            const taken = new Map<number, number>()
            table.take(each.vpn, each.vpn + each.npages, (at, frame, npages) => {
              for (let i = 0; i < npages; i++) taken.set(at + i, frame + i)
            })
            const wanted = [...model].filter(([at]) => at >= each.vpn && at < each.vpn + each.npages)
            expect(taken).toEqual(new Map(wanted))
            for (const [at] of wanted) model.delete(at)
          }
          expect(table.size).toBe(model.size)
        }
        for (const { vpn: from, npages } of operations) {
          const first = model.get(from)
          const isRun = Array.from({ length: npages }, (_, i) => model.get(from + i) === first! + i).every(Boolean)
          if (npages > 0) expect(table.runFrom(from, npages)).toBe(isRun ? first : -1)
        }
        expect(new Map(table)).toEqual(model)
        expect([...model].every(([at, frame]) => table.find(at) === frame)).toBe(true)
        expect([...model].every(([at, frame]) => table.framesAround(at)?.[at % 512] === frame)).toBe(true)
      }),
    )
  })
})
