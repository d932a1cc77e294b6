import { describe, expect, it } from 'vitest'
import type { EnginePort } from './engine/protocol.ts'
import { OrderedPort } from './ordered-port.ts'

/** A port that notes what it is asked, by the number that `where` asks about. */
function notingPort() {
  const seen: string[] = []
  const port: EnginePort = {
    call: (call, args) => {
      seen.push(`${call} ${'range' in args ? args.range.start : ''}`.trim())
    },
  }
  const ordered = new OrderedPort(port)
  const where = (n: number, via: EnginePort = ordered) => via.call('where', { range: { start: n, end: n } }, () => {})
  return { seen, ordered, where }
}

/** A promise, and what settles it. */
function settleable() {
  let resolve = (): void => {}
  let reject = (_: unknown): void => {}
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

describe('OrderedPort', () => {
  it('sends at once while nobody waits', () => {
    const { seen, where } = notingPort()
    where(1)
    expect(seen).toEqual(['where 1'])
  })

  it('sends what comes while somebody waits afterwards, in order, and what he sends at once', async () => {
    const { seen, ordered, where } = notingPort()
    const gate = settleable()
    const work = ordered.before(async (port) => {
      where(1, port)
      await gate.promise
      where(2, port)
      return 'done'
    })
    where(3)
    where(4)
    expect(seen).toEqual(['where 1'])
    gate.resolve()
    expect(await work).toBe('done')
    await Promise.resolve()
    expect(seen).toEqual(['where 1', 'where 2', 'where 3', 'where 4'])
    where(5)
    expect(seen.at(-1)).toBe('where 5')
  })

  it('several wait one after the other, each in its place', async () => {
    const { seen, ordered, where } = notingPort()
    const [first, second] = [settleable(), settleable()]
    const one = ordered.before((port) => first.promise.then(() => where(1, port)))
    where(2)
    const two = ordered.before((port) => second.promise.then(() => where(3, port)))
    where(4)
    const three = ordered.before(async (port) => where(5, port))
    where(6)
    second.resolve()
    first.resolve()
    await Promise.all([one, two, three])
    await new Promise((resolve) => setTimeout(resolve))
    expect(seen).toEqual(['where 1', 'where 2', 'where 3', 'where 4', 'where 5', 'where 6'])
  })

  it('goes on after somebody has failed', async () => {
    const { seen, ordered, where } = notingPort()
    const gate = settleable()
    const work = ordered.before(() => gate.promise)
    where(1)
    gate.reject(new RangeError('no'))
    await expect(work).rejects.toThrow('no')
    await Promise.resolve()
    expect(seen).toEqual(['where 1'])
  })

  it('memory is mapped and kernels are known at once; what is given up may not have been sent yet', () => {
    const { seen, ordered, where } = notingPort()
    void ordered.before(() => new Promise(() => {}))
    where(1)
    ordered.call('segment', { addr: 0, buffer: new ArrayBuffer(0) } as never, () => {})
    ordered.call('program', { id: 'x', program: {} } as never, () => {})
    ordered.call('abort', { run: 'x' }, () => {})
    expect(seen).toEqual(['segment', 'program'])
  })
})
