import { describe, expect, it } from 'vitest'
import { FaultWindows } from './fault-windows.ts'

const PAGE = 4096
const array = { id: 1, start: 16 * PAGE, end: 4096 * PAGE }

/** Pages from where to where a touch of page `page` of the array brings, counted from its first one. */
function touch(windows: FaultWindows, page: number, thread = 1, of = array): [number, number] {
  const { start, end } = windows.next(thread, of, of.start + page * PAGE)
  return [(start - of.start) / PAGE, (end - of.start) / PAGE]
}

describe('FaultWindows', () => {
  it('double while touches follow what was brought, up to 2 MiB, and end with the array', () => {
    const windows = new FaultWindows()
    const sizes: number[] = []
    let end = 0
    while (end < 4080) {
      const [from, to] = touch(windows, end)
      expect(from).toBe(end)
      sizes.push(to - from)
      end = to
    }
    expect(sizes.slice(0, 7)).toEqual([16, 32, 64, 128, 256, 512, 512])
    expect([end, sizes.at(-1)]).toEqual([4080, 4080 - 16 - 32 - 64 - 128 - 256 - 6 * 512])
  })

  it('go backwards too', () => {
    const windows = new FaultWindows()
    touch(windows, 1000)
    expect(touch(windows, 999)).toEqual([968, 1000])
    expect(touch(windows, 967)).toEqual([904, 968])
  })

  it('halve when touches jump, down to the page itself', () => {
    const windows = new FaultWindows()
    touch(windows, 0)
    const sizes = [700, 100, 900, 300, 2000].map((page) => touch(windows, page)).map(([from, to]) => to - from)
    expect(sizes).toEqual([8, 4, 2, 1, 1])
  })

  it('begin with one page in the middle of an array', () => {
    expect(touch(new FaultWindows(), 50)).toEqual([50, 51])
  })

  it('are apart for each thread and each array', () => {
    const windows = new FaultWindows()
    const other = { id: 2, start: 5000 * PAGE, end: 6000 * PAGE }
    // y[i] = x[i], by two threads from different ends.
    expect([touch(windows, 0), touch(windows, 0, 1, other), touch(windows, 2000, 2)]).toEqual([
      [0, 16],
      [0, 16],
      [2000, 2001],
    ])
    expect([touch(windows, 16), touch(windows, 16, 1, other), touch(windows, 2001, 2)]).toEqual([
      [16, 48],
      [16, 48],
      [2001, 2033],
    ])
  })

  it('forget those that were longest without a touch', () => {
    const windows = new FaultWindows()
    touch(windows, 0, 1)
    for (let thread = 2; thread < 300; thread++) touch(windows, 100, thread)
    expect(touch(windows, 16, 1)).toEqual([16, 17])
  })
})
