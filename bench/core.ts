// What the core costs, against copying one page: the work that faults and migrations save or cause. All of it is
// bookkeeping on the simulated machine: the bytes of frames are never touched, and only the baseline copies anything.

import { PAGE_SIZE } from '../src/base/addr.ts'
import type { ArenaOptions } from './core/arena.ts'
import { prepareBookkeeping } from './core/bookkeeping.ts'
import { prepareMigration } from './core/migration.ts'
import { preparePageCopy } from './core/page-copy.ts'
import { preparePopulate } from './core/populate.ts'
import { prepareSnapshot } from './core/snapshot.ts'
import type { BenchCase, Measure, Suite } from './harness.ts'

const MIB = 2 ** 20 / PAGE_SIZE // pages
const GIB = 2 ** 30 / PAGE_SIZE

/** Bytes of bookkeeping that a present page may cost. */
const BOOKKEEPING_BYTES_MAX = 64
/** How much more a page may cost in a large range than in a small one. */
const FLAT = 1.5

const SNAPSHOT = 'hmmRangeFault (form of 6.1, default 0, mask 0) of a populated anonymous range'
const FAULT =
  'write faults in ascending order over fresh anonymous memory, each with the search of the mapping and handleMmFault'
const MIGRATE =
  'migrateVmaSetup, destinations, migrateVmaPages, migrateVmaFinalize to device-private memory and back, by 2 MiB, with ' +
  'one notifier, without the copies'

const COPY = 'Plain copy between two buffers of 256 MiB, per 4 KiB page.'

export const core: Suite = {
  name: 'core',
  summary: 'processor time and memory of the core per page of 4 KiB, on a simulated machine',
  baseline: { summary: COPY, unit: 'ns/page', prepare: preparePageCopy },
  cases: [
    againstCopy('snapshot', 0.1, `${SNAPSHOT} of 4 GiB`, () => prepareSnapshot({ npages: 4 * GIB, contents: false })),
    againstCopy('fault', 0.7, `${FAULT}, 256 MiB`, () => preparePopulate({ npages: 256 * MIB })),
    againstCopy('migrate', 2.5, `${MIGRATE}, 256 MiB`, () => prepareMigration({ npages: 256 * MIB })),
    {
      name: 'memory',
      summary:
        'Memory of a machine of 4 GiB with every page present, frames without contents, by what the engine reports of ' +
        `its heap and buffers, at most ${BOOKKEEPING_BYTES_MAX} bytes per page; against the 4096 bytes of the page itself.`,
      unit: 'bytes/page',
      better: 'lower',
      goal: BOOKKEEPING_BYTES_MAX / PAGE_SIZE,
      prepare: () => ({
        candidate: prepareBookkeeping({ npages: 4 * GIB, contents: false }),
        baseline: () => PAGE_SIZE,
      }),
    },
    ...bySize('snapshot', SNAPSHOT, 512, prepareSnapshot),
    ...bySize('fault', FAULT, 64, preparePopulate),
    ...bySize('migrate', MIGRATE, 64, (arena, repeats) =>
      // Of the largest range a 32nd per round; the rounds go through all of it.
      prepareMigration(arena, { repeats, pagesPerRound: Math.min(arena.npages, 512 * MIB) }),
    ),
    byMappings('snapshot', SNAPSHOT, prepareSnapshot),
    byMappings('fault', FAULT, preparePopulate),
    byMappings('migrate', MIGRATE, (arena) => prepareMigration(arena)),
  ],
}

function againstCopy(name: string, goal: number, what: string, prepare: () => Measure): BenchCase {
  return {
    name,
    summary: `${capitalized(what)}; against copying a page.`,
    unit: 'ns/page',
    better: 'lower',
    goal,
    prepare: () => ({ candidate: prepare(), baseline: preparePageCopy() }),
  }
}

type Prepare = (arena: ArenaOptions, repeats?: number) => Measure

/** Ranges of 256 MiB and of 16 GiB against one of 4 MiB, with which a round does the same `repeats` times. */
function bySize(name: string, what: string, repeats: number, prepare: Prepare): BenchCase[] {
  const sizes = [
    { size: '256 MiB', npages: 256 * MIB },
    { size: '16 GiB', npages: 16 * GIB },
  ]
  return sizes.map(({ size, npages }) => ({
    name: `${name}-${size.replace(' ', '')}`,
    summary: `${capitalized(what)}, ${size} populated; against 4 MiB populated. Frames without contents.`,
    unit: 'ns/page',
    better: 'lower',
    goal: FLAT,
    prepare: () => ({
      candidate: prepare({ npages, contents: false }),
      baseline: prepare({ npages: 4 * MIB, contents: false }, repeats),
    }),
  }))
}

/** The same pages in 10,000 mappings, 64 pages each, against 10 mappings. */
function byMappings(name: string, what: string, prepare: Prepare): BenchCase {
  const npages = 640_000
  return {
    name: `${name}-10000vmas`,
    summary: `${capitalized(what)}, 640,000 pages in 10,000 mappings; against the same in 10. Frames without contents.`,
    unit: 'ns/page',
    better: 'lower',
    goal: FLAT,
    prepare: () => ({
      candidate: prepare({ npages, nvmas: 10_000, contents: false }),
      baseline: prepare({ npages, nvmas: 10, contents: false }),
    }),
  }
}

function capitalized(text: string): string {
  // Names of functions keep their case.
  return /^[a-z]+[A-Z]/.test(text) ? text : text[0].toUpperCase() + text.slice(1)
}
