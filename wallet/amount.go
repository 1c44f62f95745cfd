package wallet

import (
	"fmt"
	"strings"

	"github.com/holiman/uint256"
)

// Unit is the decimals by which a unit is larger than one wei.
type Unit int

// The units. One coin is 10^18 wei.
const (
	Wei  Unit = 0
	Gwei Unit = 9
	Coin Unit = 18
)

// maxAmountText is longer than 2^256 written with 18 decimals and a unit.
const maxAmountText = 128

// ParseAmount reads an amount as a person writes it, in wei: digits, optionally
// a point and digits, optionally a unit (wei, gwei, coin or coins), such as
// 1.5, 1.5coin, 100gwei, 5wei, "0.1 coin". Without a unit it is coins.
//
// Errors: ErrAmountEmpty, ErrAmountNegative, ErrAmountSyntax (signs, exponents,
// separators, hex), ErrAmountUnit, ErrAmountDecimals, ErrAmountRange.
func ParseAmount(text string) (*uint256.Int, error) {
	return parseAmount(text, func(number string) (Unit, error) { return Coin, nil })
}

// ParsePrice is ParseAmount for a price of gas, which has no unit that anyone
// would agree on: it must be given, unless the price is 0.
// Errors: those of ParseAmount, ErrAmountNoUnit.
func ParsePrice(text string) (*uint256.Int, error) {
	return parseAmount(text, func(number string) (Unit, error) {
		if strings.Trim(number, "0") != "" {
			return 0, fmt.Errorf("%w: %q", ErrAmountNoUnit, number)
		}
		return Wei, nil
	})
}

func parseAmount(text string, bare func(number string) (Unit, error)) (*uint256.Int, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, ErrAmountEmpty
	case len(text) > maxAmountText:
		return nil, fmt.Errorf("%w: %d bytes", ErrAmountSyntax, len(text))
	case text[0] == '-':
		return nil, fmt.Errorf("%w: %q", ErrAmountNegative, text)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, name := text, ""
	if end >= 0 {
		number, name = text[:end], strings.TrimPrefix(text[end:], " ")
	}
	whole, fraction, point := strings.Cut(number, ".")
	if whole == "" || strings.Contains(fraction, ".") || point && fraction == "" {
		return nil, fmt.Errorf("%w: %q", ErrAmountSyntax, text)
	}
	unit, err := parseUnit(name, number, bare)
	if err != nil {
		return nil, err
	}
	return scale(whole, fraction, unit)
}

func parseUnit(name, number string, bare func(string) (Unit, error)) (Unit, error) {
	switch name {
	case "":
		return bare(number)
	case "wei":
		return Wei, nil
	case "gwei":
		return Gwei, nil
	case "coin", "coins":
		return Coin, nil
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return 0, fmt.Errorf("%w: %q", ErrAmountSyntax, number+name)
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrAmountUnit, name)
}

// scale is whole.fraction × 10^unit. Both parts are digits.
func scale(whole, fraction string, unit Unit) (*uint256.Int, error) {
	if len(fraction) > int(unit) {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrAmountDecimals, len(fraction), unit)
	}
	digits := whole + fraction + strings.Repeat("0", int(unit)-len(fraction))
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return new(uint256.Int), nil
	}
	wei, err := uint256.FromDecimal(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrAmountRange, err)
	}
	return wei, nil
}

// FormatUnit writes wei exactly in a unit, without trailing zeros and without
// the unit's name: FormatUnit(1500000000, Gwei) is "1.5".
func FormatUnit(wei *uint256.Int, unit Unit) string {
	digits := wei.Dec()
	if unit == Wei {
		return digits
	}
	if pad := int(unit) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	point := len(digits) - int(unit)
	fraction := strings.TrimRight(digits[point:], "0")
	if fraction == "" {
		return digits[:point]
	}
	return digits[:point] + "." + fraction
}

// FormatCoins writes wei exactly in coins. ParseAmount reads it back.
func FormatCoins(wei *uint256.Int) string { return FormatUnit(wei, Coin) }

// FormatShort writes wei exactly with the unit that reads best: below 10^6 wei
// in wei, below 10^15 wei in gwei, else in coins. ParseAmount reads it back.
func FormatShort(wei *uint256.Int) string {
	switch {
	case wei.IsZero():
		return "0 coin"
	case wei.LtUint64(1e6):
		return FormatUnit(wei, Wei) + " wei"
	case wei.LtUint64(1e15):
		return FormatUnit(wei, Gwei) + " gwei"
	}
	return FormatUnit(wei, Coin) + " coin"
}
