// Invariants of mappings: their order, and the trees that find them from a page: AnonVmas and page caches.

import { isPageAligned } from '../base/addr.ts'
import type { AddressSpace } from './address-space.ts'
import { AnonVma } from './anon-vma.ts'
import type { Mm } from './mm.ts'
import type { System } from './system.ts'
import { broken, nameOf, nameOfVma } from './validate-fail.ts'
import type { Vma } from './vma.ts'

/** Order, bounds, and the links of each mapping. */
export function validateMappings(mm: Mm): void {
  let end = 0
  for (const vma of mm.vmas) {
    if (vma.mm !== mm) broken('T-2', `${nameOfVma(vma)} is in the list of ${nameOf(mm)}`)
    if (!isPageAligned(vma.start) || !isPageAligned(vma.end) || !(vma.start < vma.end) || vma.end > mm.taskSize) {
      broken('T-2', `${nameOfVma(vma)} is not an interval of pages of the address space`)
    }
    if (vma.start < end) broken('T-2', `${nameOfVma(vma)} begins before the mapping in front of it ends`)
    if (!Number.isSafeInteger(vma.pgoff) || vma.pgoff < 0) broken('T-2', `${nameOfVma(vma)}: pgoff is ${vma.pgoff}`)
    end = vma.end
  }
  if (mm.users === 0 && mm.vmas.length > 0) broken('T-1', `${nameOf(mm)} is dead and has ${mm.vmas.length} mappings`)
  for (const vma of mm.vmas) validateLinks(vma)
}

function validateLinks(vma: Vma): void {
  const { anonVma, anonVmaChain, file, fileNode } = vma
  let hasOwn = anonVma === null
  for (const link of anonVmaChain) {
    if (link.anonVma === anonVma) hasOwn = true
    const { node } = link
    if (link.vma !== vma || node.value !== vma || node.tree !== link.anonVma.tree) {
      broken('T-36', `${nameOfVma(vma)}: its link to AnonVma ${link.anonVma.id} is not in the tree`)
    }
    if (node.start !== vma.pgoff || node.last !== vma.lastPgoff) {
      broken(
        'T-36',
        `${nameOfVma(vma)}: AnonVma ${link.anonVma.id} has it at pages ${node.start} to ${node.last}, it is at ` +
          `${vma.pgoff} to ${vma.lastPgoff}`,
      )
    }
    if (vma.mm.sys.mappings.get(link.anonVma.id) !== link.anonVma) {
      broken('T-36', `${nameOfVma(vma)}: AnonVma ${link.anonVma.id} is linked and not registered`)
    }
  }
  if (!hasOwn) broken('T-7', `${nameOfVma(vma)}: no link to its own AnonVma ${anonVma?.id}`)

  const mapping = file?.mapping ?? null
  if (mapping === null) {
    if (fileNode !== null) broken('T-36', `${nameOfVma(vma)} is in the tree of a file that it does not map`)
    return
  }
  if (fileNode === null || fileNode.tree !== mapping.iMmap || fileNode.value !== vma) {
    broken('T-36', `${nameOfVma(vma)} is not in the tree of ${mapping.name}`)
  }
  if (fileNode.start !== vma.pgoff || fileNode.last !== vma.lastPgoff) {
    broken(
      'T-36',
      `${nameOfVma(vma)}: ${mapping.name} has it at pages ${fileNode.start} to ${fileNode.last}, it is at ${vma.pgoff}` +
        ` to ${vma.lastPgoff}`,
    )
  }
}

/** The tree of an AnonVma holds living mappings only, and its counts are those of its users. */
export function validateAnonVma(sys: System, anonVma: AnonVma): void {
  anonVma.tree.validate()
  if (anonVma.tree.size === 0) broken('T-36', `AnonVma ${anonVma.id} is registered and no mapping is linked to it`)
  for (const { value: vma } of anonVma.tree) {
    if (!isAlive(sys, vma)) broken('T-36', `AnonVma ${anonVma.id}: ${nameOfVma(vma)} is in the tree and does not exist`)
    if (!vma.anonVmaChain.some((link) => link.anonVma === anonVma)) {
      broken('T-36', `AnonVma ${anonVma.id}: ${nameOfVma(vma)} is in the tree and has no link to it`)
    }
  }
  let users = 0
  for (const mm of sys.mms) for (const vma of mm.vmas) if (vma.anonVma === anonVma) users++
  if (users !== anonVma.numActiveVmas) {
    broken('T-7', `AnonVma ${anonVma.id}: numActiveVmas is ${anonVma.numActiveVmas}, ${users} mappings use it`)
  }
  let children = 0
  for (const other of sys.mappings.values()) if (other instanceof AnonVma && other.parent === anonVma) children++
  if (children !== anonVma.numChildren) {
    broken('T-7', `AnonVma ${anonVma.id}: numChildren is ${anonVma.numChildren}, ${children} name it as parent`)
  }
}

/** The tree of a file holds living mappings of it only. */
export function validateFileTree(sys: System, mapping: AddressSpace): void {
  mapping.iMmap.validate()
  for (const { value: vma } of mapping.iMmap) {
    if (!isAlive(sys, vma) || vma.file?.mapping !== mapping) {
      broken('T-36', `${mapping.name}: ${nameOfVma(vma)} is in the tree and does not map it`)
    }
  }
}

function isAlive(sys: System, vma: Vma): boolean {
  return sys.mms.has(vma.mm) && vma.mm.vmaLookup(vma.start) === vma
}
