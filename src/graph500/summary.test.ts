import { describe, expect, test } from 'vitest'
import { MIB } from '../base/size.ts'
import { COLUMNS_MAX, Terminal, visibleLength } from '../cli/terminal.ts'
import { type Counters, makeCounters } from '../trace/counters.ts'
import { summarizeSearches } from './statistics.ts'
import { countersSince, type JobSummary, printSummary, printVerdict } from './summary.ts'

function print(
  job: Partial<JobSummary> = {},
  counters: Partial<Counters> = {},
  color = false,
  columns = COLUMNS_MAX,
): string[] {
  let text = ''
  const searches = Array.from({ length: 4 }, () => ({ seconds: 0.5, nedges: 4_000_000 }))
  printSummary(new Terminal({ write: (part) => (text += part), columns }, color), {
    statistics: summarizeSearches(searches),
    nsearches: 4,
    ofResident: 0.5,
    ofPlain: 2,
    isSoftware: false,
    counters: { ...makeCounters(), ...counters },
    arrayBytes: 45 * MIB,
    deviceBytes: 8 * MIB,
    ...job,
  })
  return text.split('\n')
}

const BYTES = { fault: 0, prefetch: 0, eviction: 0, coherence: 0, user: 0 }

describe('printSummary()', () => {
  test('compares speeds', () => {
    const text = print().join('\n')
    expect(text).toContain('8.00 M edges/s, the harmonic mean; least 8.00 M, median 8.00 M, most 8.00 M')
    expect(text).toContain('50 % of the same kernels with everything on the device')
    expect(text).toContain('2.0 times the speed of plain JavaScript with everything in memory')
    expect(text).toContain('45 MiB of arrays through 8 MiB of device memory')
  })

  test('says why plain JavaScript may be faster than a software GPU', () => {
    expect(print({ ofPlain: 0.142, isSoftware: true }).join(' ').replaceAll(/ +/g, ' ')).toContain(
      '14 % of plain JavaScript with everything in memory; this GPU is software, and computes on the same cores ',
    )
    expect(print({ ofPlain: 0.0042 }).join('\n')).toContain('0.4 % of plain JavaScript with everything in memory\n')
  })

  test('leaves out what was not compared', () => {
    const text = print({ ofResident: null }).join('\n')
    expect(text).not.toContain('same kernels')
  })

  test('splits the time', () => {
    const lines = print({}, { launchCompute: 1e6, launchService: 400_000, launchFlush: 100_000 })
    const at = lines.findIndex((line) => line.includes('2.00 s in all, 500 ms for a search'))
    expect(lines[at + 1].trim()).toBe(`${'█'.repeat(20)}${'▒'.repeat(10)}${'·'.repeat(10)}`)
    expect(lines[at + 2].trim()).toBe('█ kernels 50 %  ▒ bringing memory 25 %  · everything else 25 %')
  })

  test('never has parts of more than everything', () => {
    const lines = print({}, { launchCompute: 3e6, launchService: 1e6 })
    expect(lines.join('\n')).toContain('kernels 75 %  ▒ bringing memory 25 %  · everything else 0 %')
    expect(lines.join('\n')).toContain(`${'█'.repeat(30)}${'▒'.repeat(10)}\n`)
  })

  test('says what moved, and why', () => {
    const text = print(
      {},
      {
        bytesHostToDevice: { ...BYTES, fault: 3 * MIB, prefetch: MIB },
        bytesDeviceToHost: { ...BYTES, fault: 2 * MIB },
        pagesDuplicated: 12_345,
        pagesMigrated: { ...BYTES, eviction: 7 },
      },
    ).join('\n')
    expect(text).toMatch(/to device {3}4 MiB: 3 MiB because a kernel used it, 1 MiB ahead of use/)
    expect(text).toMatch(/from device 2 MiB because the CPU touched it/)
    expect(text).toContain('12,345 came to the device as copies for reading, 7 moved')
    expect(print().join('\n')).toMatch(/from device nothing/)
    expect(text).not.toContain('swap')
    const swapped = print({}, { pagesSwappedOut: 5_000, pagesSwappedIn: 4_000 }).join('\n')
    expect(swapped).toContain('5,000 pages went to the swap file, 4,000 came back')
  })

  test.each([100, 80, 60])('fits %i columns, in colour too', (columns) => {
    const every = { fault: 1e9 + 1, prefetch: 1e9 + 1, eviction: 1e9 + 1, coherence: 1e9 + 1, user: 1e9 + 1 }
    const counters = { bytesHostToDevice: every, bytesDeviceToHost: every, launchCompute: 1e6, launchService: 1e6 }
    for (const color of [false, true]) {
      const lines = print({}, counters, color, columns)
      for (const line of lines) expect(visibleLength(line)).toBeLessThanOrEqual(columns)
    }
  })
})

test('countersSince() takes the difference of every counter', () => {
  const before = { ...makeCounters(), launches: 3, bytesHostToDevice: { ...BYTES, fault: 10, user: 1 } }
  const after = { ...makeCounters(), launches: 5, cpuFaults: 7, bytesHostToDevice: { ...BYTES, fault: 40, user: 1 } }
  expect(countersSince(before, after)).toEqual({
    ...makeCounters(),
    launches: 2,
    cpuFaults: 7,
    bytesHostToDevice: { ...BYTES, fault: 30 },
  })
})

test('printVerdict() ends what is printed', () => {
  let text = ''
  const out = new Terminal({ write: (part) => (text += part) }, false)
  printVerdict(out, 16)
  printVerdict(out, 1)
  expect(text).toBe(
    '\n  validated: 16 searches, by the five rules of Graph500\n\n  validated: 1 search, by the five rules of Graph500\n',
  )
})
