// All that a program can do.

import type { CommandKind } from '../notation.ts'
import * as access from './access.ts'
import * as advice from './advice.ts'
import * as dmirror from './dmirror.ts'
import * as mappings from './mappings.ts'
import * as memory from './memory.ts'
import * as migrations from './migrations.ts'

export const COMMANDS: readonly CommandKind[] = [
  ...[mappings.mmap, mappings.mmapFile, mappings.mmapDevice, mappings.mmapFrames, mappings.mmapHuge],
  ...[mappings.munmap, mappings.mprotect, mappings.mremap, mappings.mlock, mappings.munlock, advice.madvise],
  ...[access.load, access.store, access.fork, access.spawn, access.exit],
  ...[access.pin, access.unpin, access.dmaWrite],
  ...[dmirror.read, dmirror.write, dmirror.toDevice, dmirror.toSystem, dmirror.exclusive, dmirror.atomic],
  ...[dmirror.snapshot, dmirror.close, dmirror.release],
  ...[migrations.migrate, migrations.evict, migrations.move, migrations.finish, migrations.decline],
  ...[migrations.deviceLoad, migrations.deviceStore, migrations.duplicate],
  ...[memory.truncate, memory.writeFile, memory.punchHole, memory.reclaim, memory.hog, memory.unhog],
  ...[memory.movePages, memory.clearSoftDirty, memory.writeBack],
]
