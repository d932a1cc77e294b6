// Lists that are used again are like new ones, and what is kept has limits.

import { describe, expect, it } from 'vitest'
import { giveFrameList, takeFrameList } from './frame-lists.ts'

const LONG = 5000

describe('lists of frames', () => {
  it('are all -1, whoever had them before', () => {
    const first = takeFrameList(LONG).fill(7)
    giveFrameList(first)
    const again = takeFrameList(LONG - 10)
    expect(again.buffer).toBe(first.buffer)
    expect([again.length, again.every((frame) => frame === -1)]).toEqual([LONG - 10, true])
    expect(takeFrameList(LONG).buffer).not.toBe(first.buffer)
  })

  it('are not kept if they are short, or so long that nobody else wants them', () => {
    for (const length of [100, 3 * 2 ** 20]) {
      const list = takeFrameList(length)
      giveFrameList(list)
      expect(takeFrameList(length).buffer).not.toBe(list.buffer)
    }
  })

  it('are kept up to a number, the last ones', () => {
    const lists = Array.from({ length: 12 }, () => takeFrameList(LONG))
    for (const list of lists) giveFrameList(list)
    const again = new Set(Array.from({ length: 12 }, () => takeFrameList(LONG).buffer))
    expect(lists.map(({ buffer }) => again.has(buffer))).toEqual([...Array(4).fill(false), ...Array(8).fill(true)])
  })
})
