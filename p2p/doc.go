// Package p2p is a node's libp2p host: it finds peers and moves bytes.
//
// It does not know what the bytes mean. Each message goes to a callback of
// Handlers, whose Verdict decides whether it is passed on; blocks, votes and
// transactions are decoded elsewhere.
//
// # Networks never mix
//
// All protocol ids but the handshake's carry the first 8 bytes of the genesis
// hash, topics carry all 32. The handshake is the first exchange on each
// connection and carries the whole hash; peers of another network are
// disconnected with an IncompatibleError that names both hashes.
//
// # Paths
//
//   - Consensus: one long-lived stream from each validator to each other, with
//     its own bounded queue. Nothing waits for a batch to fill.
//   - Gossip: a topic for batches of transactions, one for finalizations.
//     Messages are neither signed nor authored: transactions and certificates
//     carry their own signatures, and the sender of a transaction stays unknown.
//   - Requests: one stream a request, answered or refused within a deadline.
//   - Transactions to one peer: one stream a batch.
//
// # Limits
//
// Every queue, frame, rate and wait has a limit named in limits.go or Config.
// A peer that breaks one is charged (Penalize) and banned for a while when
// charges add up; registered validators are charged but never banned, for their
// votes are needed whatever else they do.
package p2p
