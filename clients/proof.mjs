// Holds what eth_getProof answered, on standard input, against a state root, for
// suites that are no JavaScript: node proof.mjs STATE-ROOT ADDRESS
import { text } from 'node:stream/consumers'
import { keccak256 } from 'ethers'
import { checkProof } from './proofs.mjs'

const [stateRoot, address] = process.argv.slice(2)
await checkProof(JSON.parse(await text(process.stdin)), stateRoot, address, keccak256)
