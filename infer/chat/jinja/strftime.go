package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// strftime writes the time of the rendering as C does in its own locale.
func (r *renderer) strftime(format string) string {
	var b strings.Builder
	for format != "" {
		r.step(1)
		before, after, found := strings.Cut(format, "%")
		r.alloc(len(before) + 64)
		b.WriteString(before)
		if !found {
			break
		}
		flag := byte(0)
		for after != "" && strings.IndexByte("-_0^#", after[0]) >= 0 {
			flag, after = after[0], after[1:]
		}
		if after == "" {
			b.WriteString("%")
			break
		}
		s, ok := timePart(r.now, after[0], flag)
		if !ok {
			s = "%" + after[:1]
		}
		b.WriteString(s)
		format = after[1:]
	}
	return b.String()
}

// timeLayouts are the parts that Go writes, too.
var timeLayouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'p': "PM", 'P': "pm", 'Y': "2006",
	'D': "01/02/06", 'x': "01/02/06", 'F': "2006-01-02", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM", 'c': "Mon Jan _2 15:04:05 2006",
}

func timePart(t time.Time, verb, flag byte) (string, bool) {
	if layout, ok := timeLayouts[verb]; ok {
		s := t.Format(layout)
		switch flag {
		case '^':
			s = strings.ToUpper(s)
		case '#':
			if s = strings.ToUpper(s); verb == 'p' {
				s = strings.ToLower(s)
			}
		}
		return s, true
	}
	_, isoWeek := t.ISOWeek()
	isoYear, _ := t.ISOWeek()
	weekday := int(t.Weekday())
	number := func(n, width int, pad byte) (string, bool) {
		switch flag {
		case '-':
			width = 0
		case '_':
			pad = ' '
		case '0':
			pad = '0'
		}
		s := strconv.Itoa(n)
		return strings.Repeat(string(pad), max(width-len(s), 0)) + s, true
	}
	switch verb {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'z', 'Z':
		return "", true // datetime.now() knows no zone
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'd':
		return number(t.Day(), 2, '0')
	case 'e':
		return number(t.Day(), 2, ' ')
	case 'm':
		return number(int(t.Month()), 2, '0')
	case 'y':
		return number(t.Year()%100, 2, '0')
	case 'C':
		return number(t.Year()/100, 2, '0')
	case 'H':
		return number(t.Hour(), 2, '0')
	case 'k':
		return number(t.Hour(), 2, ' ')
	case 'I':
		return number((t.Hour()+11)%12+1, 2, '0')
	case 'l':
		return number((t.Hour()+11)%12+1, 2, ' ')
	case 'M':
		return number(t.Minute(), 2, '0')
	case 'S':
		return number(t.Second(), 2, '0')
	case 'j':
		return number(t.YearDay(), 3, '0')
	case 'u':
		return number((weekday+6)%7+1, 1, '0')
	case 'w':
		return number(weekday, 1, '0')
	case 'U':
		return number((t.YearDay()+6-weekday)/7, 2, '0')
	case 'W':
		return number((t.YearDay()+6-(weekday+6)%7)/7, 2, '0')
	case 'V':
		return number(isoWeek, 2, '0')
	case 'G':
		return number(isoYear, 4, '0')
	case 'g':
		return number(isoYear%100, 2, '0')
	}
	return "", false
}
