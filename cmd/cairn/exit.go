package main

import (
	"context"
	"errors"
	"fmt"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/wallet"
)

// The exit codes; docs/cli.md lists them.
const (
	exitUnreachable = 3
	exitRejected    = 4
	exitNotFinal    = 5
	exitFailed      = 6
	exitKey         = 7
	exitNotFound    = 8
	exitUnproven    = 9
	exitUnsafe      = 10
	exitInterrupted = 130
)

// exitKinds maps error kinds to exit codes. The first match counts: not final
// because the node is gone is not final.
var exitKinds = []struct {
	code  int
	kinds []error
}{
	{exitNotFinal, []error{wallet.ErrNotFinal}},
	{exitInterrupted, []error{context.Canceled}},
	{exitUnreachable, []error{wallet.ErrUnreachable, wallet.ErrAnswer}},
	{exitFailed, []error{wallet.ErrReplaced}},
	{exitUnproven, []error{wallet.ErrUnproven, wallet.ErrEvidence}},
	{exitUnsafe, []error{errUnsafe}},
	{exitNotFound, []error{wallet.ErrNotFound}},
	{args.ExitUsage, []error{
		wallet.ErrAmountEmpty, wallet.ErrAmountNegative, wallet.ErrAmountSyntax, wallet.ErrAmountUnit,
		wallet.ErrAmountNoUnit, wallet.ErrAmountDecimals, wallet.ErrAmountRange,
		wallet.ErrURL, wallet.ErrFee, wallet.ErrAccountName, wallet.ErrLooksLikeKey,
		crypto.ErrHex, crypto.ErrAddressLength, crypto.ErrAddressChecksum, crypto.ErrHashLength,
	}},
	{exitKey, []error{
		wallet.ErrPassword, wallet.ErrPasswordEmpty, wallet.ErrNoAccount, wallet.ErrAccountExists,
		wallet.ErrKeyFileSize, wallet.ErrKeyFileJSON, wallet.ErrKeyFilePlain, wallet.ErrKeyFileVersion,
		wallet.ErrKeyFileAddress, wallet.ErrKeyFileCipher, wallet.ErrKeyFileIV, wallet.ErrKeyFileCiphertext,
		wallet.ErrKeyFileMAC, wallet.ErrKeyFileKDF, wallet.ErrKeyFileKDFParams, wallet.ErrKeyFileMismatch,
		wallet.ErrWrongKey, crypto.ErrKeyLength, crypto.ErrKeyRange, errNoPassword,
	}},
}

// hints say what to do about a kind of error whose text cannot know the flags of
// this program.
var hints = []struct {
	kind error
	text string
}{
	{wallet.ErrUnreachable, "--rpc URL or CAIRN_RPC_URL says which node is asked; 'cairnd run' starts one"},
	{wallet.ErrNoAccount, "'cairn account list' shows the accounts; --keystore DIR or CAIRN_KEYSTORE names another key store"},
}

// hinted puts the hint on a line below the error.
func hinted(err error) error {
	for _, h := range hints {
		if errors.Is(err, h.kind) {
			return fmt.Errorf("%w\n%s", err, h.text)
		}
	}
	return err
}

type codedError struct {
	error
	code int
}

func (e codedError) ExitCode() int { return e.code }
func (e codedError) Unwrap() error { return e.error }

func withExitCode(err error) error {
	if err == nil {
		return nil
	}
	// What is already coded, a UsageError above all, stays as it is.
	if _, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return err
	}
	if err == context.Canceled { //nolint:errorlint // only the bare one says nothing of its own
		return codedError{errors.New("interrupted"), exitInterrupted}
	}
	for _, k := range exitKinds {
		for _, kind := range k.kinds {
			if errors.Is(err, kind) {
				return codedError{hinted(err), k.code}
			}
		}
	}
	if _, ok := errors.AsType[*wallet.RejectedError](err); ok {
		return codedError{err, exitRejected}
	}
	if _, ok := errors.AsType[*wallet.FailedError](err); ok {
		return codedError{err, exitFailed}
	}
	return codedError{err, args.ExitFailure}
}
