// Package archive moves final blocks with their finalizations outside the
// network: into a compressed stream (Export), and from a stream or another
// database into a ledger (Apply).
//
// Nothing in a stream is trusted. A block is executed only when a finalization
// of it, or of a descendant in the same stream, was verified with the validators
// that the ledger itself has at that height; the ledger begins with block 0,
// which the genesis file makes. So a stream can withhold blocks and nothing else.
//
// # The stream
//
// One zstd stream (RFC 8878; `zstd -dc` reads it) of
//
//	"cairn blocks" 12 ‖ version 1
//	record*
//
//	record = kind 1 ‖ length 4, big-endian ‖ payload, RLP
//
//	kind  payload
//	1     [chain id, hash of block 0, first height, last height]   first, once
//	2     [block, certificate]  block: RLP of header, transactions, [] as a byte
//	                            string; certificate: that of exactly this block,
//	                            empty if it is final through a descendant
//	3     [number of blocks, hash of the last]                     last, once
//
// Blocks come in order of height without a gap, and the last has a certificate.
// Nothing follows record 3: without it the stream was cut.
package archive
