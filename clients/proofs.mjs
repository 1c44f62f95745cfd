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
 * Holds an eth_getProof answer against a state root: the account, and each storage
 * slot that it has. keccak is the client's, from hex to hex. An account with
 * balance 0, nonce 0 and no storage must be proven absent, as must a slot of value 0.
 */
export async function checkProof(proof, stateRoot, address, keccak) {
  const value = await proven(stateRoot, keccak(address), proof.accountProof)
  if (BigInt(proof.balance) === 0n && BigInt(proof.nonce) === 0n && proof.storageHash === emptyRoot) {
    assert.equal(value, null)
  } else {
    const account = [quantity(proof.nonce), quantity(proof.balance), proof.storageHash, proof.codeHash]
    assert.equal(bytesToHex(value), rlp(account))
  }
  for (const slot of proof.storageProof) {
    if (proof.storageHash === emptyRoot) {
      assert.equal(BigInt(slot.value), 0n)
      continue
    }
    const found = await proven(proof.storageHash, keccak('0x' + BigInt(slot.key).toString(16).padStart(64, '0')), slot.proof)
    assert.equal(found === null ? 0n : BigInt(bytesToHex(RLP.decode(found))), BigInt(slot.value))
  }
}

const emptyRoot = '0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'

/** The value of a hashed key, null if it is absent. A bit flipped in the proof must be noticed. */
async function proven(root, key, proof) {
  const nodes = proof.map((n) => hexToBytes(n))
  const forged = nodes.with(-1, nodes.at(-1).map((b, i, all) => (i === all.length - 1 ? b ^ 1 : b)))
  await assert.rejects(verifyMPTWithMerkleProof(new MerklePatriciaTrie(), hexToBytes(root), hexToBytes(key), forged))
  return verifyMPTWithMerkleProof(new MerklePatriciaTrie(), hexToBytes(root), hexToBytes(key), nodes)
}
