// Package blocksync brings a node that missed final blocks to the head, and
// serves them to others.
//
// First the epochs: Walk asks for the ends of those that are over and verifies
// each by the set before it, so that all validator sets up to the head are known
// (Sets) before the first block is here. Then the blocks: Run keeps ranges in
// flight to several peers, verifies them as they come, in any order and across
// epochs, and hands them on in order. Each range stands on its own: its last block
// has a finalization, or comes with the headers of its descendants up to one that
// has (light.Trust.VerifyFinality), and the others are its ancestors. So a lie is
// the lie of the peer that told it, and nothing of it gets further than Check.
//
// What is in memory is bounded in bytes, whatever peers send. The package writes
// nothing: Config.Apply does.
package blocksync
