// What a client does not check by itself: a header's hash and an account's proof,
// with a trie library that is neither the client's nor Cairn's.
import assert from 'node:assert/strict'
import { MerklePatriciaTrie, verifyMPTWithMerkleProof } from '@ethereumjs/mpt'
import { RLP } from '@ethereumjs/rlp'
import { bytesToHex, hexToBytes } from '@ethereumjs/util'

const quantity = (hex) => (BigInt(hex) === 0n ? '0x' : '0x' + evenDigits(BigInt(hex).toString(16)))
const evenDigits = (digits) => (digits.length % 2 ? '0' + digits : digits)

/** The fields of a London header in the order of their RLP; each is hex bytes. */
export function headerFields(raw) {
  return [
    raw.parentHash, raw.sha3Uncles, raw.miner, raw.stateRoot, raw.transactionsRoot, raw.receiptsRoot, raw.logsBloom,
    quantity(raw.difficulty), quantity(raw.number), quantity(raw.gasLimit), quantity(raw.gasUsed), quantity(raw.timestamp),
    raw.extraData, raw.mixHash, raw.nonce, quantity(raw.baseFeePerGas),
  ]
}

export const rlp = (fields) => bytesToHex(RLP.encode(fields.map((f) => hexToBytes(f))))

/**
 * Holds an eth_getProof answer against a state root. keccak is the client's, from
 * hex to hex. A balance of 0 and nonce 0 must be proven absent.
 */
export async function checkProof(proof, stateRoot, address, keccak) {
  const nodes = proof.accountProof.map((n) => hexToBytes(n))
  const root = hexToBytes(stateRoot)
  const key = hexToBytes(keccak(address))
  const value = await verifyMPTWithMerkleProof(new MerklePatriciaTrie(), root, key, nodes)
  if (BigInt(proof.balance) === 0n && BigInt(proof.nonce) === 0n) {
    assert.equal(value, null)
  } else {
    const account = [quantity(proof.nonce), quantity(proof.balance), proof.storageHash, proof.codeHash]
    assert.equal(bytesToHex(value), rlp(account))
  }
  const forged = nodes.with(-1, nodes.at(-1).map((b, i, all) => (i === all.length - 1 ? b ^ 1 : b)))
  await assert.rejects(verifyMPTWithMerkleProof(new MerklePatriciaTrie(), root, key, forged))
}
