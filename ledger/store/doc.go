// Package store keeps the ledger and the vote records in one Pebble database.
//
// What it promises:
//
//   - Commit is one atomic, synced batch for one final block. After a power loss
//     the head is there with everything it refers to, or the head before it is.
//   - PutBody does not wait for the disk, but is ordered: when PutRecords or
//     Commit has returned, every body put before it is durable too.
//   - A failed synced write is a failure for good: the store refuses every later
//     write with ErrFailed, because a page cache that once lost a write may
//     report the next sync of it as done.
//   - One version of the state is on disk, that of the head. Older balances come
//     from the account history, older trie nodes are the ledger's business.
//
// The key table is in keys.go and in docs/storage.md. The package knows neither
// what a record means nor what a certificate says: both are opaque bytes.
//
// This is the only package that imports Pebble.
package store
