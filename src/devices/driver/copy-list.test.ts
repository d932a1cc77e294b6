// Lists of pages to copy: what was added comes out again, whether it was written down at once or not.

import { describe, expect, it } from 'vitest'
import { CopyList } from './copy-list.ts'

const entries = (list: CopyList): [pfns: number[], frames: number[]] => [[...list.pfns], [...list.frames]]

describe('CopyList', () => {
  it('has the pages that were added, alone and as runs, in their order', () => {
    const list = new CopyList(2)
    list.add(7, 70)
    list.addRun(8, 71, 3)
    list.addRun(11, 90, 2)
    list.add(5, 92)
    expect(list.length).toBe(7)
    expect(entries(list)).toEqual([
      [7, 8, 9, 10, 11, 12, 5],
      [70, 71, 72, 73, 90, 91, 92],
    ])
  })

  it('goes on after somebody has looked', () => {
    const list = new CopyList()
    list.addRun(1, 11, 2)
    expect(entries(list)).toEqual([
      [1, 2],
      [11, 12],
    ])
    list.addRun(3, 13, 2)
    list.add(9, 15)
    expect(entries(list)).toEqual([
      [1, 2, 3, 4, 9],
      [11, 12, 13, 14, 15],
    ])
  })

  it('is a run as long as all are neighbours on both sides', () => {
    const list = new CopyList()
    expect(list.run).toBeNull()
    list.addRun(4, 40, 512)
    list.addRun(516, 552, 512)
    expect([list.run, list.length]).toEqual([{ pfn: 4, frame: 40 }, 1024])
    list.add(2000, 1064)
    expect([list.run, list.length, list.pfns[1023], list.frames[1024]]).toEqual([null, 1025, 1027, 1064])
    list.clear()
    expect([list.run, list.length, entries(list)]).toEqual([null, 0, [[], []]])
    list.add(3, 30)
    expect([list.run, entries(list)]).toEqual([{ pfn: 3, frame: 30 }, [[3], [30]]])
  })
})
