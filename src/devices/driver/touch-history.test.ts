import { describe, expect, it } from 'vitest'
import { TouchHistory } from './touch-history.ts'

describe('TouchHistory', () => {
  it('a touch is sequential if it is on the page after the last answer', () => {
    const history = new TouchHistory()
    expect([history.window, history.isSequential(0)]).toEqual([0, false])
    history.answered(8, 24, 16)
    expect([history.window, history.isSequential(24), history.isSequential(23)]).toEqual([16, true, false])
  })

  it('a touch goes on behind what was read ahead of it, and one anywhere else forgets that', () => {
    const history = new TouchHistory()
    expect(history.answered(0, 8, 8)).toBe(8)
    history.readAhead(24) // 8 was left behind
    expect([history.isSequential(8), history.isSequential(24)]).toEqual([true, false])
    expect(history.answered(8, 9, 8)).toBe(24)
    history.readAhead(40)
    expect([history.answered(100, 116, 16), history.isSequential(116), history.isSequential(40)]).toEqual([
      116,
      true,
      false,
    ])
  })

  it('counts changes of side per 2 MiB, and only those of the last while', () => {
    const history = new TouchHistory()
    history.moved(0, 4, 'device', 10)
    history.moved(100, 104, 'device', 15) // the same side: no change
    history.moved(2, 3, 'host', 20)
    history.moved(510, 514, 'device', 30) // two regions
    expect([history.nmoves(0, 30, 100), history.nmoves(511, 30, 100), history.nmoves(512, 30, 100)]).toEqual([3, 3, 1])
    expect([history.nmoves(0, 30, 10), history.nmoves(0, 31, 10), history.nmoves(1024, 30, 100)]).toEqual([2, 1, 0])
  })

  it('pages that have always been in system memory have not come back', () => {
    const history = new TouchHistory()
    history.moved(0, 4, 'host', 10)
    expect(history.nmoves(0, 10, 100)).toBe(0)
  })

  it('remembers who has to wait, where there is anything to wait for', () => {
    const history = new TouchHistory()
    history.setWait(0, 50)
    expect(history.waitsUntil(0)).toBe(0)
    history.moved(0, 1, 'device', 1)
    history.setWait(0, 50)
    expect([history.waitsUntil(511), history.waitsUntil(512)]).toEqual([50, 0])
  })

  it('forgets the region that was longest without a move', () => {
    const history = new TouchHistory()
    for (let region = 0; region < 4096; region++) history.moved(region * 512, region * 512 + 1, 'device', 1)
    history.moved(0, 1, 'host', 2)
    history.moved(4096 * 512, 4096 * 512 + 1, 'device', 3)
    expect([0, 512, 1024, 4096 * 512].map((vpn) => history.nmoves(vpn, 3, 100))).toEqual([2, 0, 1, 1])
  })
})
