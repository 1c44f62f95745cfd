// Package trie is the persistent Merkle Patricia trie that accounts and
// storage slots are kept in: Ethereum's, node for node and root for root.
//
// A Trie is one version. Update makes the next one, which shares every node
// that did not change; so an unfinalized block costs only what it changed, and
// branches of blocks do not see each other. Update also answers the NodeSet:
// what differs on a disk that holds one version, keyed by path, with the
// nodes that are overwritten, so that a caller can keep older versions
// readable for a while by putting those in front of the disk (WithSource).
//
// # Memory and readers
//
// A node in memory never changes after Update made it, and nodes that readers
// load from the Source belong to that reader alone. So every method may be
// called at any time by any goroutine without a lock, and only Update adds to
// the memory of a version: the nodes it makes. Bound drops those that were
// made longest ago. What it drops is read from the Source again.
//
// # Older versions
//
// Every node that comes from a Source is checked against the hash that the
// version's root leads to. A version whose nodes were overwritten answers a
// *MissingNodeError for what it no longer has in memory; never a value of
// another version.
//
// # Encoding
//
// A node is RLP: a leaf or an extension as [hex-prefix key, value or child], a
// branch as 16 children and an empty value. A child is referred to by its
// keccak256, or stands in its parent if its encoding is shorter than 32 bytes;
// such a child has no place of its own on disk or in a proof. The root is
// always stored and referred to by hash.
//
// The package is pure: no clock, no goroutine, no randomness, no I/O but the
// Source.
package trie
