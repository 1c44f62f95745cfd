// Package wallet holds keys, builds and signs transactions, and talks to a node.
//
// It is a library for programs that move money; cmd/cairn is its command line.
// It opens no database and speaks to no peer: everything it knows about the
// ledger comes from one JSON-RPC endpoint, and what can be checked of an answer
// without trusting that node is checked (a block's hash, a transaction's hash
// and sender).
//
//   - KeyStore: a directory of Web3 Secret Storage v3 files, one an account;
//   - ParseAmount, FormatCoins: exact amounts, never floating point;
//   - Client: the calls, Prepare, Submit and WaitFinal; the validators' registry;
//   - Verifier: balances, nonces and receipts proven against a genesis file.
//
// Errors are of three classes. An ErrorKind says which rule input from a person,
// a file or a node broke. A *RejectedError is the node's own refusal, with its
// words. ErrUnreachable wraps what the network said.
package wallet
