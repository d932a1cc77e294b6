// Projects: core and unit (beside the code, and test/unit, test/kernel, test/slice), model (random programs, slower), examples
// (and the command line, as they were built) and browser (headless Chromium). Each runs alone with `npm run unit` and
// so on; `npx vitest run PATH` finds a file in any of them.
// Forks, not threads: tests map memory, set environment variables for native loaders and may end a process. Those of core do not,
// so `npm run core` gives all of them one process, where everything is loaded once: that takes half the time.
import { defineConfig } from 'vitest/config'
import SlowFirst from './test/helpers/slow-first.ts'

/** Nothing here has a GPU, threads or native code, so nobody minds what the tests of others have left in the process. */
const CORE = [
  'src/{base,uapi,trace,report,cli,mm,hmm,wgsl,policies,machine}/**/*.test.ts',
  'src/mmu/{simulated,explicit}/**/*.test.ts',
  'src/devices/{*,dmirror/*}.test.ts',
  'src/kernel/*.test.ts',
  'src/kernel/paged/{bound-atomics,compile-paged,foresight,waiting}.test.ts',
  'src/hmm-entry.test.ts',
  'src/graph500/**/{comparisons,csr,job-files,kronecker,level-plan,make-graph,read-graph}.test.ts',
  'src/graph500/{residency-strip,search-view,searches,statistics,strips,summary,validate}.test.ts',
  'src/heap/{arena,extents,growing-segments,heap-options,memory-options,ordered-port,run-receipt}.test.ts',
  'src/heap/engine/client-hub.test.ts',
  'src/heap/live/{fault-server,fault-windows,file-swap,reclaimer}.test.ts',
  'src/devices/driver/{density-tree,device-clock,frame-pool,frame-table,kept-pages,progress,touch-history}.test.ts',
  'src/devices/memory/memory-hardware.test.ts',
  'src/devices/webgpu/{bind-groups,gpu-banks,nudges}.test.ts',
  'test/unit/bad-input.test.ts',
  'conformance/**/*.test.ts',
  'bench/*.test.ts',
  'test/kernel/**/*.test.ts',
]

// `npm run model:long` sets the number of programs; then a test takes as long as it takes.
const longRun = process.env['HETMEM_MODEL_RUNS'] !== undefined

export default defineConfig({
  test: {
    pool: 'forks',
    poolOptions: { forks: { minForks: 1, maxForks: 2 } },
    reporters: ['default', './scripts/vitest-summary.mjs'],
    sequence: { sequencer: SlowFirst },
    restoreMocks: true,
    unstubEnvs: true,
    unstubGlobals: true,
    projects: [
      {
        extends: true,
        test: {
          name: 'core',
          include: CORE,
          testTimeout: 60_000, // the machine may be busy
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'unit',
          globalSetup: './test/helpers/programs.ts',
          include: ['src/**/*.test.ts', 'bench/**/*.test.ts', 'test/{unit,slice}/**/*.test.ts'],
          exclude: CORE,
          testTimeout: 60_000, // the machine may be busy
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'model',
          include: ['test/model/**/*.test.ts'],
          testTimeout: longRun ? 0 : 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'examples',
          include: ['examples/**/*.test.ts', 'test/{cli,docs,package}/**/*.test.ts'],
          globalSetup: './test/helpers/build.ts',
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: './test/browser/project.ts',
          testTimeout: process.env['HETMEM_FIREFOX'] === undefined ? 120_000 : 600_000,
          hookTimeout: 120_000, // the first start unpacks the browser
        },
      },
    ],
  },
})
