// A registration with the validator registry, for the suites that watch its
// events: docs/registry.md says what the proof is made of.
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Wallet, concat, encodeBase58, id, keccak256, toBeHex, toUtf8Bytes } from 'ethers'

export const registryABI = JSON.parse(readFileSync(new URL('../docs/registry.abi.json', import.meta.url), 'utf8'))

/** A candidate that nobody has heard of, and the arguments of register(). */
export function candidate(chainId) {
  const wallet = Wallet.createRandom()
  const key = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const peerId = encodeBase58(concat(['0x002408011220', key])) // an identity multihash; its leading zero byte is a 1
  const name = 'c' + wallet.address.slice(2, 12).toLowerCase()
  const digest = keccak256(concat([toUtf8Bytes('cairn-reg-v1'), '0x00000000', toBeHex(chainId, 8), toBeHex(0, 8), wallet.address, id(peerId), id(name)]))
  const { r, s, yParity } = wallet.signingKey.sign(digest)
  return { address: wallet.address, peerId, name, args: [wallet.address, peerId, name, concat([r, s, toBeHex(yParity, 1)])] }
}
