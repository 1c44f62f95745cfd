// Package chain is what a block means: the bytes of blocks and transactions,
// block 0, the checks of a header, and execution. It is pure: the same parent,
// state and block give the same output on every node, with no clock, no
// goroutine, no I/O of its own.
//
// # Responsibilities
//
//   - Genesis makes block 0 from a genesis.Spec. Its hash commits to every field.
//   - DecodeBlock, DecodeHeader and DecodeTransaction are the one door through
//     which bytes of others become trusted types: London headers, transactions
//     of type 0 (with EIP-155), 1 and 2, canonical RLP, nothing after the end.
//   - CheckTransaction holds the rules that need no state; Execute and Build
//     apply those that do: nonce, balance, base fee, block limits.
//   - Execute checks a block of another node; Build makes one from Candidates.
//     Both give the Output that the ledger stores.
//   - The validator registry (docs/registry.md): its storage layout, its calls
//     in transactions and in eth_call, and the closing block that a change of
//     the set makes.
//
// # Errors
//
// A broken rule is an *InvalidError whose Kind is one of the ErrorKind
// constants; errors.Is matches the kind. Transaction kinds have the texts of
// geth's errors, letter for letter, because wallets match them. A *RevertError is
// a call that the registry refuses; in a block it is a receipt of status 0. Any
// other error is a failure to read state and says nothing about the block.
package chain
