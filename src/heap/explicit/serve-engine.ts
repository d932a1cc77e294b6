// The engine of an explicit heap in a worker: makes it, and begins what comes through its port. The worker ends when the heap is
// closed, at the wish of whoever closed it (engine-thread.ts).

import type { AdapterFinder } from '../../devices/webgpu/own-adapter.ts'
import { BatchSink } from '../../trace/batch-sink.ts'
import { failureOf } from '../engine/failure.ts'
import type { EnginePort } from '../engine/protocol.ts'
import { type EngineNews, serveCalls } from '../engine/remote-port.ts'
import { portChannel } from './channel.ts'
import type { EngineReady, EngineStart } from './engine-thread.ts'
import { makeExplicitEngine } from './explicit-engine.ts'

/** `findAdapter` is what the runtime has. */
export async function serveEngine({ settings, port }: EngineStart, findAdapter: AdapterFinder): Promise<void> {
  const channel = portChannel(port)
  const batches = new BatchSink({
    post: (events) => channel.send({ events } satisfies EngineNews),
    schedule: (flush) => void setTimeout(flush),
  })
  try {
    const engine = await makeExplicitEngine(settings.engine, settings.isTraced ? [batches] : [], findAdapter)
    const calls: EnginePort = {
      call(call, args, reply) {
        engine.call(call, args, (answer) => {
          if (call === 'close') batches.flush()
          reply(answer)
        })
      },
    }
    serveCalls(calls, channel)
    channel.send({ ready: true } satisfies EngineReady)
  } catch (error) {
    channel.send({ failure: failureOf(error) } satisfies EngineReady)
  }
}
