package org.keyferry.provider;

import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What of a text is a secret by its own shape, whatever its field is called: private keys in PEM or
 * DER, JSON Web Tokens. The agent knows them by the same marks, which it has written into {@code
 * secret-names.tsv}; the cases in {@code testdata/secrets} are held by both.
 */
final class SecretShape {
  private static final String MASK = "**********";

  /** How a token begins: an opening brace and a quote in Base64url. */
  private static final String TOKEN_BEGINS = "eyJ";

  /**
   * Two parts of at least eight characters and what follows them, at the beginning of a word. Each
   * repetition ends at a character that it cannot take, and gives nothing back: however a text is
   * made, it is gone through once.
   */
  private static final Pattern TOKEN =
      Pattern.compile(
          "(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+\\.[A-Za-z0-9_-]{8,}+\\.[A-Za-z0-9_.-]*+");

  /** What stands in every private key in PEM. */
  private final Set<String> pem;

  /** How private keys in DER go on after their length, and where. */
  private final List<Mark> der;

  private record Mark(int at, String text) {
    /** Of {@code 6 IBAA…}: the place, a blank and the text. */
    static Mark of(String line) {
      String[] parts = line.split(" ");
      return new Mark(Integer.parseInt(parts[0]), parts[1]);
    }
  }

  /**
   * Shapes of keys by these marks.
   *
   * @param der the place of each mark, a blank, and the mark
   */
  SecretShape(Set<String> pem, Set<String> der) {
    this.pem = pem;
    this.der = der.stream().map(Mark::of).toList();
  }

  /** The text without what is a secret: a private key as a whole, tokens where they stand. */
  String masked(String text) {
    if (isPrivateKey(text)) {
      return MASK;
    }
    // Nearly every text is told apart here.
    if (!text.contains(TOKEN_BEGINS)) {
      return text;
    }
    Matcher tokens = TOKEN.matcher(text);
    return tokens.find() ? tokens.replaceAll(Matcher.quoteReplacement(MASK)) : text;
  }

  private boolean isPrivateKey(String text) {
    return pem.stream().anyMatch(text::contains)
        || der.stream().anyMatch(mark -> text.startsWith(mark.text(), mark.at()));
  }
}
