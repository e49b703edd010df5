# cmake -DOUTPUT=FILE.cc -DFOLDER=net/page -P embed.cmake: the page's files as bytes of a C++ file (status_page.cc declares
# them). Scripts are joined in the order named here.
set(page_html page.html)
set(page_style page.css)
set(page_script base.js charts.js job.js chat.js)

set(code "#include <string_view>\n\nnamespace ternion {\n")
foreach(name page_html page_style page_script)
  set(bytes "")
  foreach(file ${${name}})
    file(READ ${FOLDER}/${file} hex HEX)
    string(APPEND bytes "${hex}")
  endforeach()
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND code "static constexpr unsigned char ${name}[] = {\n${bytes}};\n"
    "std::string_view ${name}_text() { return {reinterpret_cast<const char*>(${name}), sizeof(${name})}; }\n")
endforeach()
string(APPEND code "}  // namespace ternion\n")
file(WRITE ${OUTPUT} "${code}")
