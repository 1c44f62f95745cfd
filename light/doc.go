// Package light checks what a node says of the ledger without trusting it.
//
// A client starts from what it trusts: the genesis file (FromGenesis), or the
// validator set of some epoch that it has from elsewhere (a Trust of its own).
// From there
//
//   - Walk goes from epoch to epoch: for each one its closing block's header, the
//     finalization of that very block by the set that is known, and the next set,
//     whose hash is the header's mixHash;
//   - VerifyFinality makes a header final by its own finalization or by that of a
//     descendant;
//   - a Block, which only they make, proves accounts, slots, transactions and
//     receipts by the roots of its header.
//
// What follows holds if fewer than n/3 of each epoch's validators, of those that
// were walked through, are at fault. An answer can be old: a proof tells what was
// final at the block's time, never that nothing came after it.
//
// Everything is a function of its inputs: no I/O, no clock. Every input may come
// from an adversary; sizes are bounded before anything is computed. All errors
// are rejections of an ErrorKind, with the kinds of consensus, chain and trie
// below it where one of them said why.
package light
