// Mathematics is drawn by KaTeX, which lies beside this file.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const text = element.textContent.trim().slice(2, -2)
    katex.render(text, element, {displayMode: element.tagName === "DIV", throwOnError: true})
  }
})
