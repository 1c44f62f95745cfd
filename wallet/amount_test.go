package wallet_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"cairn/wallet"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

const maxWei = "115792089237316195423570985008687907853269984665640564039457584007913129639935" // 2^256-1

func TestParseAmount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0":                      "0",
		"1":                      "1000000000000000000",
		"1.5":                    "1500000000000000000",
		"1.5coin":                "1500000000000000000",
		"1.5 coin":               "1500000000000000000",
		"2coins":                 "2000000000000000000",
		" 1 ":                    "1000000000000000000",
		"001.50":                 "1500000000000000000",
		"0.000000000000000001":   "1",
		"100gwei":                "100000000000",
		"0.000000001gwei":        "1",
		"5wei":                   "5",
		"0wei":                   "0",
		maxWei + "wei":           maxWei,
		"1.000000000000000000":   "1000000000000000000",
		"9007199254740993":       "9007199254740993000000000000000000", // above 2^53
		"0.100000000000000055":   "100000000000000055",
		"123456789.987654321wei": "",
	} {
		got, err := wallet.ParseAmount(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q: %s", text, got.Dec())
			}
			continue
		}
		if err != nil || got.Dec() != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestParseAmountRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                              wallet.ErrAmountEmpty,
		"   ":                           wallet.ErrAmountEmpty,
		"-1":                            wallet.ErrAmountNegative,
		"-0.5coin":                      wallet.ErrAmountNegative,
		"+1":                            wallet.ErrAmountSyntax,
		"1e18":                          wallet.ErrAmountSyntax,
		"1e18wei":                       wallet.ErrAmountSyntax,
		"1,5":                           wallet.ErrAmountSyntax,
		"1_000":                         wallet.ErrAmountSyntax,
		"1.2.3":                         wallet.ErrAmountSyntax,
		"1.":                            wallet.ErrAmountSyntax,
		".5":                            wallet.ErrAmountSyntax,
		".":                             wallet.ErrAmountSyntax,
		"wei":                           wallet.ErrAmountSyntax,
		"0x10":                          wallet.ErrAmountSyntax,
		"1  coin":                       wallet.ErrAmountSyntax,
		"1coin 2wei":                    wallet.ErrAmountSyntax,
		"١":                             wallet.ErrAmountSyntax,
		"1\x00":                         wallet.ErrAmountSyntax,
		"NaN":                           wallet.ErrAmountSyntax,
		strings.Repeat("1", 200):        wallet.ErrAmountSyntax,
		"1eth":                          wallet.ErrAmountUnit,
		"1COIN":                         wallet.ErrAmountUnit,
		"1szabo":                        wallet.ErrAmountUnit,
		"0.5wei":                        wallet.ErrAmountDecimals,
		"0.0000000001gwei":              wallet.ErrAmountDecimals,
		"0.0000000000000000001":         wallet.ErrAmountDecimals,
		"1.0000000000000000000":         wallet.ErrAmountDecimals,
		maxWei:                          wallet.ErrAmountRange,
		maxWei[:len(maxWei)-1] + "6wei": wallet.ErrAmountRange,
		maxWei + "0wei":                 wallet.ErrAmountRange,
	} {
		if got, err := wallet.ParseAmount(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParsePrice(t *testing.T) {
	t.Parallel()
	if got, err := wallet.ParsePrice("2.5gwei"); err != nil || got.Dec() != "2500000000" {
		t.Error(got, err)
	}
	if got, err := wallet.ParsePrice("0"); err != nil || !got.IsZero() {
		t.Error(got, err)
	}
	if _, err := wallet.ParsePrice("20"); !errors.Is(err, wallet.ErrAmountNoUnit) {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ wei, coins, short string }{
		{"0", "0", "0 coin"},
		{"1", "0.000000000000000001", "1 wei"},
		{"999999", "0.000000000000999999", "999999 wei"},
		{"1000000", "0.000000000001", "0.001 gwei"},
		{"21000000000000", "0.000021", "21000 gwei"},
		{"1500000000000000000", "1.5", "1.5 coin"},
		{"100000000000000000000", "100", "100 coin"},
	} {
		wei := uint256.MustFromDecimal(c.wei)
		if got := wallet.FormatCoins(wei); got != c.coins {
			t.Errorf("%s wei: %s coins, want %s", c.wei, got, c.coins)
		}
		if got := wallet.FormatShort(wei); got != c.short {
			t.Errorf("%s wei: %s, want %s", c.wei, got, c.short)
		}
	}
}

// What is written is read back, in every unit, for any amount.
func TestAmountRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "wei")
		wei := new(uint256.Int).SetBytes(b)
		for _, text := range []string{
			wallet.FormatCoins(wei), wallet.FormatShort(wei),
			wallet.FormatUnit(wei, wallet.Gwei) + "gwei", wallet.FormatUnit(wei, wallet.Wei) + "wei",
		} {
			got, err := wallet.ParseAmount(text)
			if err != nil || !got.Eq(wei) {
				t.Fatalf("%s wei as %q reads as %v, %v", wei.Dec(), text, got, err)
			}
		}
	})
}

// An accepted amount is what exact rational arithmetic says.
func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"1.5", "100gwei", "5wei", "1.5coin", "0.000000000000000001", maxWei + "wei", "-1", "1e9", "0x1", "1 coins", ".5", "5."} {
		f.Add(s)
	}
	scale := map[string]int64{"wei": 0, "gwei": 9, "coin": 18, "coins": 18, "": 18}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := wallet.ParseAmount(text)
		if err != nil {
			return
		}
		trimmed := strings.TrimSpace(text)
		number := strings.TrimRight(trimmed, "abcdefghijklmnopqrstuvwxyz ")
		unit := strings.TrimSpace(trimmed[len(number):])
		want, ok := new(big.Rat).SetString(number)
		exponent, known := scale[unit]
		if !ok || !known {
			t.Fatalf("%q was accepted as %s", text, got.Dec())
		}
		want.Mul(want, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(exponent), nil)))
		if want.Cmp(new(big.Rat).SetInt(got.ToBig())) != 0 {
			t.Fatalf("%q is %s wei, not %s", text, want, got.Dec())
		}
	})
}
