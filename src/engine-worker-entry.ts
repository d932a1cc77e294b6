// The entry point `hetmem/engine-worker` for browsers: the program of a worker that a page gives to `openHeap({ engine })`.
//
//   import 'hetmem/engine-worker'                                                     in engine.ts
//   new Worker(new URL('./engine.ts', import.meta.url), { type: 'module' })           in the page, as its bundler wants it

import { findOwnAdapter } from './devices/webgpu/own-adapter.ts'
import { makeDevice } from './heap/engine/make-device.ts'
import { groupChannel } from './heap/explicit/channel.ts'
import type { EngineStart } from './heap/explicit/engine-thread.ts'
import { serveEngine } from './heap/explicit/serve-engine.ts'

declare const self: {
  addEventListener(
    type: 'message',
    listener: (event: { readonly data: unknown }) => void,
    options: { once: boolean },
  ): void
}

self.addEventListener(
  'message',
  ({ data }) =>
    void serveEngine(data as EngineStart, (site, settings) => makeDevice(site, settings, findOwnAdapter), groupChannel),
  { once: true },
)
