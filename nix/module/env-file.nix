# Settings files as systemd and edgerotate read them: from text, and to text.
{ lib }:

let
  # No word of a shell, but quotes and backslashes count as in one.
  plain = "[A-Za-z0-9_.,:/=;@%+*-]*( +[A-Za-z0-9_.,:/=;@%+*-]+)*";
  quoted =
    value: "\"${builtins.replaceStrings [ "\\" "\"" "$" "`" ] [ "\\\\" "\\\"" "\\$" "\\`" ] value}\"";
  line = key: value: "${key}=${if builtins.match plain value != null then value else quoted value}";

  text =
    value:
    if builtins.isBool value then
      (if value then "yes" else "no")
    else if builtins.isList value then
      lib.concatMapStringsSep " " toString value
    else
      toString value;
in
{
  # As an option gives it, to how it stands in the file.
  inherit text;

  write =
    settings:
    lib.concatStrings (lib.mapAttrsToList (key: value: line key (text value) + "\n") settings);

  # What systemd/edgerotate.env has: comments, and assignments without quotes.
  read =
    content:
    builtins.listToAttrs (
      builtins.concatMap (
        text:
        let
          assignment = builtins.match "([A-Z0-9_]+)=(.*)" text;
        in
        lib.optional (assignment != null) {
          name = builtins.elemAt assignment 0;
          value = builtins.elemAt assignment 1;
        }
      ) (lib.splitString "\n" content)
    );
}
