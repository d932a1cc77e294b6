import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MirrorTable, TAG_ATOMIC, TAG_READ, TAG_WRITE } from './mirror-table.ts'

function entriesOf(table: MirrorTable): Map<number, string> {
  const entries = new Map<number, string>()
  table.forEach((vpn, pfn, tag) => {
    entries.set(vpn, `${pfn}/${tag}`)
  })
  return entries
}

describe('MirrorTable', () => {
  it('is empty at first: frame and tag are -1 everywhere', () => {
    const table = new MirrorTable()
    expect([table.find(0), table.tagOf(0), table.find(2 ** 35), table.size]).toEqual([-1, -1, -1, 0])
  })

  it('tells frame 0 from no entry', () => {
    const table = new MirrorTable()
    table.store(5, 0, TAG_READ)
    expect([table.find(5), table.tagOf(5), table.find(4), table.tagOf(4)]).toEqual([0, TAG_READ, -1, -1])
  })

  it('store() replaces frame and tag of an entry without counting it twice', () => {
    const table = new MirrorTable()
    table.store(7, 70, TAG_READ)
    table.store(7, 71, TAG_WRITE)
    expect([table.find(7), table.tagOf(7), table.size]).toEqual([71, TAG_WRITE, 1])
  })

  it('eraseRange() includes both ends and leaves the neighbours', () => {
    const table = new MirrorTable()
    for (let vpn = 510; vpn < 516; vpn++) table.store(vpn, vpn, TAG_READ)
    table.eraseRange(511, 514)
    expect([...entriesOf(table).keys()]).toEqual([510, 515])
  })

  it('eraseRange() over 2^64 bytes ends at once', () => {
    const table = new MirrorTable()
    table.store(1, 1, TAG_READ)
    table.store(2 ** 34, 2, TAG_ATOMIC)
    table.eraseRange(0, 2 ** 52)
    expect(table.size).toBe(0)
  })

  it('hasTag() looks at the pages of the range and at no other', () => {
    const table = new MirrorTable()
    table.store(511, 1, TAG_READ)
    table.store(512, 2, TAG_ATOMIC)
    table.store(513, 3, TAG_ATOMIC)
    table.erase(513)
    expect([table.hasTag(0, 511, TAG_ATOMIC), table.hasTag(512, 512, TAG_ATOMIC)]).toEqual([false, true])
    expect([table.hasTag(513, 2 ** 52, TAG_ATOMIC), table.hasTag(0, 2 ** 52, TAG_ATOMIC)]).toEqual([false, true])
  })

  it('does what a plain map does, for any sequence of operations', () => {
    const vpn = fc.oneof(
      fc.nat(1600),
      fc.nat(1600).map((n) => 2 ** 35 - 800 + n),
    )
    const operation = fc.oneof(
      fc.record({ op: fc.constant('store' as const), vpn, pfn: fc.nat(99), tag: fc.constantFrom(0, 1, 3) }),
      fc.record({ op: fc.constant('erase' as const), vpn }),
      fc.record({ op: fc.constant('eraseRange' as const), vpn, other: vpn }),
      fc.record({ op: fc.constant('clear' as const) }),
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const table = new MirrorTable()
        const model = new Map<number, string>()
        for (const o of operations) {
          if (o.op === 'store') {
            table.store(o.vpn, o.pfn, o.tag)
            model.set(o.vpn, `${o.pfn}/${o.tag}`)
          } else if (o.op === 'erase') {
            table.erase(o.vpn)
            model.delete(o.vpn)
          } else if (o.op === 'eraseRange') {
            table.eraseRange(o.vpn, o.other)
            for (const key of [...model.keys()]) if (key >= o.vpn && key <= o.other) model.delete(key)
          } else if (o.op === 'clear') {
            table.clear()
            model.clear()
          }
        }
        expect(table.size).toBe(model.size)
        expect(entriesOf(table)).toEqual(model)
      }),
    )
  })
})
