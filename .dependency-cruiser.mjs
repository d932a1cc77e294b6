// The layer picture of docs/architecture.md as a table; `npm run layers` holds it.
//
//   base, uapi  <-  trace  <-  mmu/mmu.ts  <-  mm  <-  hmm  <-  devices/*, policies, heap, machine  <-  entry points
//                                 ^                                          ^                         ^
//             mmu/simulated, mmu/explicit, mmu/userfaultfd    base <- wgsl <- kernel        graph500, cli, studio, conformance, bench, examples
//
// An arrow points at what is imported. Type imports count: a type that points upwards is a dependency too.
// Every arrow points one way, so folders cannot form cycles; cycles of files have rules of their own below.
// Test files may import anything. An exception is a line in the table, with its reason beside it.

const BASE = ['^src/base/']
const UAPI = ['^src/uapi/', ...BASE]
const TRACE = ['^src/trace/', ...UAPI]
const MMU = ['^src/mmu/mmu\\.ts$', ...TRACE]
const MM = ['^src/mm/', ...MMU]
const HMM = ['^src/hmm/', ...MM]
const KERNEL = ['^src/kernel/', '^src/wgsl/', ...BASE]
// What a program is made of. A policy is handed to a driver by the heap or the machine, so drivers do not import any.
const PROGRAM = ['^src/mmu/', '^src/devices/', '^src/policies/', ...KERNEL, ...HMM]
const PACKAGE = ['^src/(?!cli/|graph500/)']

// What `exports` of package.json names.
const ENTRY_POINTS = ['^src/[^/]+\\.ts$', '^src/(trace|devices/webgpu)/index\\.ts$']

const TESTS = ['\\.test\\.ts$', '^test/']

/** from: the files of a layer. to: all that they may import inside this repository. */
const LAYERS = [
  { layer: 'base', from: '^src/base/', to: BASE },
  { layer: 'uapi', from: '^src/uapi/', to: UAPI },
  { layer: 'trace', from: '^src/trace/', to: TRACE },
  { layer: 'report', from: '^src/report/', to: ['^src/report/', ...TRACE] },
  { layer: 'mmu/mmu.ts', from: '^src/mmu/[^/]+\\.ts$', to: MMU },
  { layer: 'mmu/*', from: '^src/mmu/([^/]+)/', to: ['^src/mmu/$1/', ...MMU] },
  { layer: 'mm', from: '^src/mm/', to: MM },
  { layer: 'hmm', from: '^src/hmm/', to: HMM },
  { layer: 'devices/device.ts', from: '^src/devices/[^/]+\\.ts$', to: ['^src/devices/[^/]+\\.ts$', ...HMM] },
  { layer: 'wgsl', from: '^src/wgsl/', to: ['^src/wgsl/', ...BASE] },
  { layer: 'kernel', from: '^src/kernel/', to: KERNEL },
  // Devices do not import each other; the driver below those with memory of their own is no device.
  {
    layer: 'devices/*',
    from: '^src/devices/([^/]+)/',
    to: ['^src/devices/$1/', '^src/devices/driver/', '^src/devices/[^/]+\\.ts$', ...KERNEL, ...HMM],
  },
  { layer: 'policies', from: '^src/policies/', to: ['^src/policies/', ...HMM] },
  { layer: 'heap', from: '^src/heap/', to: ['^src/heap/', ...PROGRAM] },
  { layer: 'machine', from: '^src/machine/', to: ['^src/machine/', ...PROGRAM] },
  { layer: 'entry points', from: '^src/[^/]+\\.ts$', to: PACKAGE },
  // It prints as the commands do.
  {
    layer: 'graph500',
    from: '^src/graph500/',
    to: ['^src/graph500/', '^src/cli/(terminal|live-lines)\\.ts$', ...PACKAGE],
  },
  { layer: 'cli', from: '^src/cli/', to: ['^src/'] },
  { layer: 'studio', from: '^studio/', to: ['^studio/', ...PACKAGE] },
  { layer: 'conformance', from: '^conformance/', to: ['^conformance/', ...PACKAGE] },
  { layer: 'bench', from: '^bench/', to: ['^bench/', '^src/graph500/', ...PACKAGE] },
  { layer: 'examples', from: '^examples/', to: ['^examples/', ...ENTRY_POINTS] },
]

const OURS = '^(src|studio|conformance|bench|examples|test|scripts)/'
const CORE = ['^src/(base|uapi|trace|mm|mmu/simulated)/', '^src/hmm/', '^src/mmu/mmu\\.ts$']

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...LAYERS.map(({ layer, from, to }) => ({
      name: `layer ${layer}`,
      comment: `${layer} imports something that is not below it`,
      severity: 'error',
      from: { path: from, pathNot: TESTS },
      to: { path: OURS, pathNot: to },
    })),
    {
      name: 'every file has a layer',
      comment: 'A new folder of src needs a line in the table',
      severity: 'error',
      from: { path: '^src/', pathNot: [...LAYERS.map(({ from }) => from), ...TESTS] },
      to: {},
    },
    {
      name: 'tests are not imported',
      severity: 'error',
      from: { pathNot: TESTS },
      to: { path: TESTS },
    },
    {
      name: 'no cycles',
      comment: 'Two files that need each other at run time depend on the order in which they are loaded',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no type cycles outside mm',
      comment: 'Mm, Vma and System name each other as the kernel structs do; elsewhere a type points one way',
      severity: 'error',
      from: { pathNot: ['^src/mm/', ...TESTS] },
      to: { circular: true },
    },
    {
      name: 'the core stands alone',
      comment: 'base to hmm run on any JavaScript engine: no packages, nothing of Node',
      severity: 'error',
      from: { path: CORE, pathNot: TESTS },
      to: { pathNot: OURS, couldNotResolve: false },
    },
    {
      name: 'no development packages in the package',
      severity: 'error',
      from: { path: '^src/', pathNot: TESTS },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'npm-peer', 'npm-optional', 'type-only'] },
    },
    {
      name: 'imports resolve',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' }, // for our own package by its name
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
  },
}
