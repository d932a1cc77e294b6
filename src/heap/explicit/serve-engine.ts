// The engine of an explicit heap in a worker: makes it, and begins what comes through its port. The worker ends when the heap is
// closed, at the wish of whoever closed it (engine-thread.ts).

import { BatchSink } from '../../trace/batch-sink.ts'
import { ClientHub, FIRST_CLIENT } from '../engine/client-hub.ts'
import type { Engine } from '../engine/engine.ts'
import { failureOf } from '../engine/failure.ts'
import type { DeviceMaker } from '../engine/make-device.ts'
import type { EnginePort } from '../engine/protocol.ts'
import type { Channel, EngineNews } from '../engine/remote-port.ts'
import { portChannel } from './channel.ts'
import type { EngineReady, EngineStart } from './engine-thread.ts'
import { makeExplicitEngine } from './explicit-engine.ts'

/** `openChannel` opens a channel for all threads that know its name. Returns null, and says why to the program, if there is no engine. */
export async function serveEngine(
  { settings, port }: EngineStart,
  makeDevice: DeviceMaker,
  openChannel: (name: string) => Channel,
): Promise<Engine | null> {
  const channel = portChannel(port)
  const batches = new BatchSink({
    post: (events) => channel.send({ events } satisfies EngineNews),
    schedule: (flush) => void setTimeout(flush),
  })
  try {
    const engine = await makeExplicitEngine(settings.engine, settings.isTraced ? [batches] : [], makeDevice)
    const calls: EnginePort = {
      call(call, args, reply) {
        engine.call(call, args, (answer) => {
          if (call === 'close') batches.flush()
          reply(answer)
        })
      },
    }
    const clients = new ClientHub(calls, settings.channel, settings.words, openChannel)
    clients.add(FIRST_CLIENT, channel)
    clients.listen()
    channel.send({ ready: true } satisfies EngineReady)
    return engine
  } catch (error) {
    channel.send({ failure: failureOf(error) } satisfies EngineReady)
    return null
  }
}
