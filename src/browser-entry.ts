// The entry point `hetmem` for web pages: the names of index.ts, and nothing of Node. `exports` of package.json gives it to bundlers
// that build for browsers.

export { attachHeap, openHeap } from './heap/on-web.ts'
export * from './heap-entry.ts'
