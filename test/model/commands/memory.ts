// What happens to memory from outside of all processes: files change, frames become scarce, reclaim runs.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { EACCES, EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENOENT, ENOMEM } from '../../../src/base/errno.ts'
import { allocKernelPage, putPage, unlockPage } from '../../../src/mm/page-alloc.ts'
import { clearPageDirtyForIo } from '../../../src/mm/writeback.ts'
import { setWord } from '../look.ts'
import { ADDR, command, NAME, PAGES, wordOf } from '../notation.ts'
import { FILE_PAGES, type World } from '../world.ts'
import { chooseActor, chooseMapped } from './choose.ts'
import { checkResult, resultOf } from './outcome.ts'

export const truncate = command<[string, number]>({
  name: 'truncate',
  params: [NAME, PAGES],
  weight: 2,
  pick: (world, random) => [
    random.pick(world.files).name,
    random.percent(40) ? FILE_PAGES : random.below(FILE_PAGES + 3),
  ],
  run(world, name, npages) {
    const known = world.file(name)
    if (known === undefined) return
    const { file, model } = known
    checkResult('truncate', file.truncate(npages), 0)
    // Private copies beyond the end go, too.
    if (npages < model.npages) {
      for (const { space } of world.actors.values()) {
        for (const page of space.values()) {
          if (page.file === model && page.pgoff >= npages) page.lose()
        }
      }
    }
    model.npages = npages
    model.clear(npages, Number.POSITIVE_INFINITY)
  },
})

/** write(2): one whole page. */
export const writeFile = command<[string, number]>({
  name: 'writeFile',
  params: [NAME, PAGES],
  weight: 3,
  pick: (world, random) => [random.pick(world.files).name, random.below(FILE_PAGES)],
  run(world, name, pgoff) {
    const known = world.file(name)
    if (known === undefined) return
    const { file, model } = known
    const content = world.newContent()
    const bytes = new Uint8Array(PAGE_SIZE)
    setWord(bytes, 0, content.first)
    setWord(bytes, PAGE_SIZE - 4, content.last)
    const result = resultOf(() => file.writePage(pgoff, bytes))
    if (pgoff >= model.npages) checkResult('writeFile', result, EINVAL)
    else
      checkResult('writeFile', result, 0, ...(world.isShort ? [ENOMEM] : []), ...(world.broken.size > 0 ? [EIO] : []))
    if (result === 0) model.set(pgoff, content)
  },
})

export const punchHole = command<[string, number, number]>({
  name: 'punchHole',
  params: [NAME, PAGES, PAGES],
  weight: 1,
  pick: (world, random) => [random.pick(world.files).name, random.below(FILE_PAGES), random.small(4)],
  run(world, name, pgoff, npages) {
    const known = world.file(name)
    if (known === undefined) return
    const result = resultOf(() => known.file.punchHole(pgoff, npages))
    checkResult('punchHole', result, npages > 0 ? 0 : EINVAL)
    known.model.clear(pgoff, pgoff + npages)
  },
})

/** Writes cold pages to swap. */
export const reclaim = command<[number]>({
  name: 'reclaim',
  params: [PAGES],
  weight: 4,
  pick: (_world, random) => [random.small(16)],
  run(world, npages) {
    world.sys.reclaim(npages)
  },
})

/** The kernel takes frames for itself, as many as there are. */
export const hog = command<[number]>({
  name: 'hog',
  params: [PAGES],
  weight: 3,
  pick: (world: World, random) => (world.setup.tight ? [random.small(24)] : null),
  run(world, npages) {
    for (let i = 0; i < npages; i++) {
      const pfn = allocKernelPage(world.sys)
      if (pfn < 0) return
      world.hogged.push(pfn)
    }
  },
})

export const unhog = command<[number]>({
  name: 'unhog',
  params: [PAGES],
  weight: 4,
  pick: (world, random) => (world.hogged.length > 0 ? [random.small(world.hogged.length)] : null),
  run(world, npages) {
    for (const pfn of world.hogged.splice(-npages)) putPage(world.sys, pfn)
  },
})

/** To other frames of system memory, as compaction does. */
export const movePages = command<[string, Addr, number, 'own' | 'all']>({
  name: 'movePages',
  params: [NAME, ADDR, PAGES, wordOf(['own', 'all'])],
  weight: 3,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, npages, random.pick(['own', 'all'] as const)]
  },
  run(world, who, addr, npages, which) {
    const process = world.actors.get(who)?.process
    if (process === undefined) return
    for (const status of process.movePages(addr, npages, { all: which === 'all' })) {
      checkResult('movePages', status, 0, EFAULT, ENOENT, EACCES, EBUSY, EAGAIN, ENOMEM)
    }
  },
})

export const clearSoftDirty = command<[string]>({
  name: 'clearSoftDirty',
  params: [NAME],
  weight: 1,
  pick: (world, random) => [chooseActor(world, random).name],
  run(world, who) {
    world.actors.get(who)?.process.clearSoftDirty()
  },
})

/** A page of a file is written somewhere and becomes clean in every mapping, then dirty again: it is kept nowhere else. */
export const writeBack = command<[string, number]>({
  name: 'writeBack',
  params: [NAME, PAGES],
  weight: 1,
  pick: (world, random) => [random.pick(world.files).name, random.below(FILE_PAGES)],
  run(world, name, pgoff) {
    const { sys } = world
    const pfn = world.file(name)?.file.mapping.pages.get(pgoff)
    if (pfn === undefined || !sys.pages.trylock(pfn)) return
    const wasDirty = clearPageDirtyForIo(sys, pfn)
    if (wasDirty) sys.pages.setDirty(pfn)
    unlockPage(sys, pfn)
  },
})
