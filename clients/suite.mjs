// What every suite shares: counted checks and the two networks they run on.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const patience = 30_000 // milliseconds of one check

/** A network: scripts/clients.sh names its directory and its first node. */
function network(kind, url, dir) {
  assert.ok(url && dir, 'run this with scripts/clients.sh')
  return {
    kind,
    free: kind === 'free',
    http: url,
    ws: url.replace(/^http/, 'ws'),
    other: url.replace(/\d+$/, (port) => Number(port) + 1), // its second node
    chainId: JSON.parse(readFileSync(`${dir}/testnet.json`, 'utf8')).chainId,
    accounts: JSON.parse(readFileSync(`${dir}/accounts.json`, 'utf8')),
  }
}

export const networks = [
  network('fees', process.env.CLIENTS_FEES_RPC, process.env.CLIENTS_FEES_DIR),
  network('free', process.env.CLIENTS_FREE_RPC, process.env.CLIENTS_FREE_DIR),
]

export const registry = '0x000000000000000000000000000000000000ca10'
export const setSlots = ['0x1', '0x3', '0x63'] // of the registry: hash of the set, number of members (4), nothing
export const missing = '0x' + '9'.repeat(64) // the hash of nothing

/** Runs checks one after the other, prints what fails and counts. */
export class Suite {
  passed = 0
  failed = 0

  /** name is that of the package which is tried, or of what is tried by hand if there is none. */
  constructor(name, version) {
    if (version) {
      this.name = `${name} ${version}`
      return
    }
    const at = createRequire(import.meta.url).resolve(name).replace(new RegExp(`(.*/node_modules/${name}/).*`), '$1')
    this.name = `${name} ${JSON.parse(readFileSync(`${at}package.json`, 'utf8')).version}`
  }

  async check(title, body) {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${patience} ms`)), patience)
    })
    try {
      await Promise.race([body(), late])
      this.passed++
    } catch (e) {
      this.failed++
      console.error(`FAIL ${this.name}: ${title}\n${e?.stack ?? e}`)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Prints the counts and ends the process, whatever is still connected. A check that was not made has failed. */
  end(expected) {
    if (this.passed + this.failed !== expected) {
      console.error(`FAIL ${this.name}: ${this.passed + this.failed} checks were made, not ${expected}`)
      this.failed += 1
    }
    console.log(`${this.name}: ${this.passed} passed, ${this.failed} failed`)
    process.exit(this.failed === 0 ? 0 : 1)
  }
}

/** The error that an action ends with; no error is one. */
export async function failure(action) {
  let value
  try {
    value = await action()
  } catch (e) {
    return e
  }
  assert.fail(`no error, but ${value}`)
}

/** Whether a condition comes true in time. */
export async function until(condition, milliseconds) {
  for (const end = Date.now() + milliseconds; Date.now() < end; ) {
    if (await condition()) return true
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return false
}
