import { describe, expect, it } from 'vitest'
import { checkSequence } from './check.ts'
import { firstDifference } from './compare.ts'
import type { ConformanceDriver } from './drivers/driver.ts'
import { replay } from './replay.ts'
import { RecordedDriver } from './testing/recorded-driver.ts'
import { makeSample } from './testing/sample.ts'
import type { Sequence } from './trace.ts'

/** Replays a changed recording on a driver that answers as the unchanged one. */
function check(change: (sequence: Mutable) => void) {
  const changed = structuredClone(makeSample()) as unknown as Mutable
  change(changed)
  const failure = checkSequence(changed as unknown as Sequence, () => new RecordedDriver(makeSample()), [])
  return failure === null ? null : { index: failure.index, ...failure.difference }
}

// biome-ignore lint/suspicious/noExplicitAny: a recording to be broken anywhere
type Mutable = { ops: any[] }

describe('checkSequence()', () => {
  it('finds nothing where nothing differs', () => {
    expect(check(() => {})).toBeNull()
  })

  it.each<[string, (ops: Mutable['ops']) => void, object]>([
    [
      'a status',
      (ops) => {
        ops[1].result.status[3] = 'ok'
      },
      { index: 1, path: 'result.status[3]', expected: 'ok', actual: 'segv' },
    ],
    [
      'a value',
      (ops) => {
        ops[3].result.values[1] = 0
      },
      { index: 3, path: 'result.values[1]', expected: 0, actual: 102 },
    ],
    [
      'a count',
      (ops) => {
        ops[3].result.cpages = 1
      },
      { index: 3, path: 'result.cpages', expected: 1, actual: 2 },
    ],
    [
      'an errno',
      (ops) => {
        ops[5].result.errno = 'EPERM'
      },
      { index: 5, path: 'result.errno', expected: 'EPERM', actual: 'EFAULT' },
    ],
    [
      'success for failure',
      (ops) => {
        ops[5].result = { cpages: 1, faults: 1 }
      },
      { index: 5, path: 'result.cpages', expected: 1, actual: undefined },
    ],
    [
      'a field of the result too many',
      (ops) => {
        ops[5].result.busy = 1
      },
      { index: 5, path: 'result.busy', expected: 1, actual: undefined },
    ],
    [
      'a field of the result too few',
      (ops) => {
        delete ops[3].result.values
      },
      { index: 3, path: 'result.values', expected: undefined, actual: [101, 102] },
    ],
    [
      'a token',
      (ops) => {
        ops[6].result.pfns[1] = 'VW:d0:1'
      },
      { index: 6, path: 'result.pfns[1]', expected: 'VW:d0:1', actual: 'V:d0:1' },
    ],
    [
      'the name of an event',
      (ops) => {
        ops[3].events[0][1] = 'CLEAR'
      },
      { index: 3, path: 'events[0][1]', expected: 'CLEAR', actual: 'MIGRATE' },
    ],
    [
      'the end of an event',
      (ops) => {
        ops[3].events[0][3] = 4
      },
      { index: 3, path: 'events[0][3]', expected: 4, actual: 3 },
    ],
    [
      'the owner of an event',
      (ops) => {
        ops[3].events[0][4] = ''
      },
      { index: 3, path: 'events[0][4]', expected: '', actual: 'dev0' },
    ],
    [
      'an event too many',
      (ops) => {
        ops[4].events.push([1, 'CLEAR', 0, 1, ''])
      },
      { index: 4, path: 'events[1]', expected: [1, 'CLEAR', 0, 1, ''], actual: undefined },
    ],
    [
      'an event too few',
      (ops) => {
        ops[4].events = []
      },
      { index: 4, path: 'events[0]', expected: undefined, actual: [0, 'PROTECTION_PAGE', 0, 3, ''] },
    ],
    [
      'no events at all',
      (ops) => {
        delete ops[4].events
      },
      { index: 4, path: 'events', expected: undefined, actual: [[0, 'PROTECTION_PAGE', 0, 3, '']] },
    ],
    [
      'a watch event',
      (ops) => {
        ops[3].watch[0][1] = 2
      },
      { index: 3, path: 'watch[0][1]', expected: 2, actual: 1 },
    ],
    [
      'an entry',
      (ops) => {
        ops[3].state[0].pte = 'wDd_'
      },
      { index: 3, path: 'state.0.pte[2]', expected: 'd', actual: 'D' },
    ],
    [
      'an attribute',
      (ops) => {
        ops[1].state[0].attr = '757.'
      },
      { index: 1, path: 'state.0.attr[1]', expected: '5', actual: '7' },
    ],
    [
      'the pagemap',
      (ops) => {
        ops[1].state[0].pagemap = '9999'
      },
      { index: 1, path: 'state.0.pagemap[3]', expected: '9', actual: '.' },
    ],
    [
      'the state of the child',
      (ops) => {
        ops[4].state[1].pte = 'rdw_'
      },
      { index: 4, path: 'state.1.pte[2]', expected: 'w', actual: 'd' },
    ],
    [
      'a state that is not reported',
      (ops) => {
        delete ops[4].state[1]
      },
      { index: 4, path: 'state.1', expected: undefined },
    ],
    [
      'no state at all',
      (ops) => {
        delete ops[1].state
      },
      { index: 1, path: 'state', expected: undefined },
    ],
    [
      'a shared page',
      (ops) => {
        ops[4].same[2] = '0:2=1:3'
      },
      { index: 4, path: 'same[2]', expected: '0:2=1:3', actual: '0:2=1:2' },
    ],
    [
      'shared pages that are not reported',
      (ops) => {
        delete ops[7].same
      },
      { index: 7, path: 'same', expected: undefined, actual: [] },
    ],
  ])('finds %s', (_, change, difference) => {
    expect(check(({ ops }) => change(ops))).toMatchObject(difference)
  })

  it('names the first of several differences', () => {
    const found = check(({ ops }) => {
      ops[6].result.busy = 1
      ops[3].state[0].pte = '____'
      ops[3].events[0][2] = 0
    })
    expect(found).toMatchObject({ index: 3, path: 'events[0][2]' })
  })

  it('takes an exception for a difference that names the message', () => {
    const driver = new RecordedDriver(makeSample())
    const execute = driver.execute.bind(driver)
    driver.execute = (op) => {
      if (op.op === 'fork') throw new RangeError('no room for a child')
      return execute(op)
    }
    const failure = checkSequence(makeSample(), () => driver, [])
    expect(failure).toMatchObject({ index: 4, difference: { path: 'exception' } })
    expect(failure?.difference.actual).toMatch(
      /^RangeError: no room for a child\n {4}at .*\(conformance\/compare\.test\.ts:\d+:\d+\)/,
    )
  })

  it('takes a broken invariant for a difference if it is asked to look', () => {
    const makeBroken = (): ConformanceDriver => {
      const driver = new RecordedDriver(makeSample())
      driver.validate = () => {
        throw new Error('INV-1: frame 7 has 2 entries')
      }
      return driver
    }
    expect(checkSequence(makeSample(), makeBroken, [], { validate: false })).toBeNull()
    const failure = checkSequence(makeSample(), makeBroken, [], { validate: true })
    expect(failure).toMatchObject({ index: 0, difference: { path: 'exception' } })
  })

  it('says under which expectation a difference falls', () => {
    const changed = structuredClone(makeSample()) as unknown as Mutable
    changed.ops[5].result.errno = 'EPERM'
    const expectation = {
      name: 'own read-only pages',
      reason: 'as Linux 6.2 does',
      applies: ({ ops }: Sequence, index: number) => ops[index].op === 'dev-write',
    }
    const failure = checkSequence(changed as unknown as Sequence, () => new RecordedDriver(makeSample()), [expectation])
    expect(failure?.listed).toBe(expectation)
    changed.ops[1].result.status[0] = 'segv'
    const earlier = checkSequence(changed as unknown as Sequence, () => new RecordedDriver(makeSample()), [expectation])
    expect(earlier).toMatchObject({ index: 1, listed: null })
  })
})

describe('replay()', () => {
  it('reports state and shared pages only when they changed', () => {
    const seen = [...replay(makeSample(), (sequence) => new RecordedDriver(sequence))]
    expect(seen).toEqual(
      makeSample().ops.map(({ result, events, watch, state, same }) => {
        return JSON.parse(JSON.stringify({ result, events, watch, state, same }))
      }),
    )
  })

  it('reports the first state of a second child although it is that of the first', () => {
    const { ops, ...rest } = makeSample()
    const again = { ...rest, ops: [...ops, ops[4], ops[7]] }
    expect(checkSequence(again, (sequence) => new RecordedDriver(sequence), [])).toBeNull()
  })
})

describe('firstDifference()', () => {
  it('tells a shorter text from a longer one', () => {
    expect(firstDifference('ww', 'www', 'state.0.pte')).toEqual({
      path: 'state.0.pte[2]',
      expected: undefined,
      actual: 'w',
    })
  })

  it('tells numbers from texts and lists from objects', () => {
    expect(firstDifference(1, '1', 'a')).not.toBeNull()
    expect(firstDifference([], {}, 'a')).not.toBeNull()
    expect(firstDifference(null, undefined, 'a')).not.toBeNull()
  })
})
